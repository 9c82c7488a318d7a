"""From a body to a `ModelAsk`: what is asked for, how heavy the prompt is, which turn it continues."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import orjson

from gateway.core.call import Arrival, Kind
from gateway.core.catalog import IMAGE_TOKENS_ASSUMED, OUTPUT_TOKENS_ASSUMED, Deployment, EstimateRules, Model
from gateway.core.denial import Code, Denial, Refused
from gateway.core.estimate import Prompt, TurnMemory, Weight, digest, token_factor
from gateway.core.model_ask import FREE, ModelAsk
from gateway.core.tool_name import BUILTIN_PREFIX
from gateway.core.wire.facts import NO_CONTENT_BUT_TEXT, FieldRefused, RequestFacts
from gateway.core.wire.format import WireFormat
from gateway.core.wire.formats import FORMATS
from gateway.core.wire.neutral import NeutralRequest
from gateway.core.wire.openai_embeddings import read_embeddings
from gateway.core.wire.searches import allowed, most_used
from gateway.core.wire.task import TaskFacts
from gateway.pipeline.plane import Plane
from gateway.pipeline.translate import half_of, written_request


def request_facts(arrival: Arrival) -> RequestFacts:
    try:
        return arrival.format.requests.read(arrival.body)
    except FieldRefused as error:
        raise Refused(field_denial(error)) from error


def task_facts(arrival: Arrival) -> TaskFacts:
    task = arrival.format.task
    try:
        return read_embeddings(arrival.body) if task is None else task.read(arrival.body, arrival.form)
    except FieldRefused as error:
        raise Refused(field_denial(error)) from error


def field_denial(error: FieldRefused) -> Denial:
    code = Code.FIELD_UNSUPPORTED if error.unsupported else Code.REQUEST_MALFORMED
    return Denial(code, f"{error}.".replace("..", "."), field=error.field)


def canonical_tools(plane: Plane, names: Sequence[str], provider_tools: Sequence[str] = ()) -> dict[str, list[str]]:
    """Canonical name -> all the client's words for it, in order of declaration. Our own governance tools need no policy
    rows."""
    canonical: dict[str, list[str]] = {}
    for name in names:
        for known in plane.canonical(name):
            if known not in plane.own_tools:
                canonical.setdefault(known, []).append(name)
    for name in provider_tools:
        canonical.setdefault(name, [name])
    return canonical


def model_ask(
    plane: Plane, arrival: Arrival, facts: RequestFacts, model: Model, stripped: frozenset[str], turns: TurnMemory
) -> ModelAsk:
    """`stripped` holds declared tools, in the client's words, that are taken out of the request."""
    wire = arrival.format
    requests = wire.requests
    body: Mapping[str, Any] = requests.without_tools(arrival.body, stripped) if stripped else arrival.body
    _refuse_unpriced(facts, stripped)
    messages = requests.messages(body)
    rules = plane.catalog.estimates
    packed = orjson.dumps(messages)[:-1]
    packed_digest = digest(packed)
    head = digest(orjson.dumps([facts.model, requests.beside(body)]))
    rest = {name: value for name, value in body.items() if name not in requests.aside}
    searches = allowed(facts.searches, stripped)
    sound = _may_be_sound(facts, rules)
    constants = _of_images(facts, model) + sound + searches.read * rules.search_tokens
    not_inline = constants - facts.content.data_url_bytes
    weight = Weight(arrival.body_bytes + not_inline, len(packed) + not_inline, constants)
    prompt = Prompt(head, packed, packed_digest, len(messages), weight)
    canonical = canonical_tools(
        plane,
        [name for name in facts.tools if name not in stripped],
        [name for name in facts.provider_tools if name not in stripped],
    )

    sending = _Sending(wire, body, facts, model)
    sending.refuse_untranslatable()
    return ModelAsk(
        kind=Kind.CHAT,
        model=model,
        format=wire,
        path=_path(wire, arrival.query, stream=facts.stream),
        headers=tuple((name, arrival.headers[name]) for name in wire.passed_headers if name in arrival.headers),
        prompt=prompt,
        texts=lambda: requests.texts(body),
        outgoing=sending.body_for,
        spoken=sending.spoken,
        translated=sending.translated,
        stream=facts.stream,
        include_usage=facts.include_usage,
        choices=facts.choices,
        client_max_tokens=facts.client_max_tokens,
        produces_output=True,
        sliceable=facts.stream and facts.choices == 1 and not (model.hidden_reasoning or facts.hidden),
        thinking_tokens=facts.thinking_tokens,
        tools=canonical,
        continues=turns.previous(prompt) if _counts_alike(model) else None,
        service_tiers=None if facts.service_tier == "auto" else frozenset({facts.service_tier}),
        uncounted=_uncounted(facts, rules),
        request_digest=digest(orjson.dumps(rest) + packed_digest + plane.digest_key),
        media=most_used(searches, sound),
    )


def task_ask(plane: Plane, arrival: Arrival, facts: TaskFacts, model: Model) -> ModelAsk:
    body, wire, form = arrival.body, arrival.format, arrival.form
    task = wire.task
    written = arrival.body_bytes if form is None else sum([len(text.encode()) for text in facts.texts])
    at_most = (written if facts.texts else 0) + facts.ready_tokens
    packed = orjson.dumps(body if task is not None else body.get("input"))

    def make(deployment: Deployment, _cap: int | None) -> Mapping[str, Any] | bytes:
        name = deployment.upstream_model
        if form is not None:
            return form.with_model(name)
        return {**body, "model": name} if task is None else task.outgoing(body, name)

    return ModelAsk(
        kind=arrival.kind,
        model=model,
        format=wire,
        path="/embeddings" if task is None else wire.path,
        headers=() if form is None else (("content-type", form.content_type),),
        prompt=Prompt(
            digest(facts.model.encode()),
            packed,
            digest(packed),
            facts.inputs,
            Weight(at_most, at_most, facts.ready_tokens),
        ),
        texts=lambda: facts.texts,
        outgoing=make,
        spoken=lambda deployment: wire if wire.name in deployment.speaks else None,
        translated=lambda: None,
        stream=False,
        include_usage=False,
        choices=1,
        client_max_tokens=facts.output_tokens,
        produces_output=facts.output_tokens > 0,
        sliceable=False,
        thinking_tokens=facts.output_tokens,
        tools={},
        continues=None,
        service_tiers=frozenset(),
        uncounted=(),
        request_digest=digest(packed + plane.digest_key),
        media=facts.media,
        free=FREE if facts.free else "",
    )


def _refuse_unpriced(facts: RequestFacts, stripped: frozenset[str]) -> None:
    for name in facts.unpriced:
        if name not in stripped:
            text = (
                f"The tool `{name.removeprefix(BUILTIN_PREFIX)}` is run by the provider for a fee that no price here "
                "covers; leave it out."
            )
            raise Refused(Denial(Code.FIELD_UNSUPPORTED, text, field="tools"))


class _Sending:
    """One request as each deployment of its model is sent it. It is translated once, and only if needed: most calls of
    an alias with deployments of several families end at the first."""

    __slots__ = ("_body", "_facts", "_model", "_translated", "_wire")

    def __init__(self, wire: WireFormat, body: Mapping[str, Any], facts: RequestFacts, model: Model) -> None:
        self._wire, self._body, self._facts, self._model = wire, body, facts, model
        self._translated: NeutralRequest | FieldRefused | None = None

    def refuse_untranslatable(self) -> None:
        """Raises Refused where no deployment takes the request as it is and translation cannot carry all of it."""
        native = self._wire.name
        if self._wire.half is None or any(native in deployment.speaks for deployment in self._model.deployments):
            return
        read = self._read()
        if isinstance(read, FieldRefused):
            raise Refused(field_denial(read)) from read

    def translated(self) -> NeutralRequest | None:
        """None = it cannot be said in another format."""
        read = self._read()
        return None if isinstance(read, FieldRefused) else read

    def spoken(self, deployment: Deployment) -> WireFormat | None:
        if self._wire.name in deployment.speaks:
            return self._wire
        if self._wire.half is None or self.translated() is None:
            return None
        return _translatable_to(deployment)

    def body_for(self, deployment: Deployment, cap: int | None) -> Mapping[str, Any]:
        facts, upstream = self._facts, self.spoken(deployment)
        if upstream is not None and upstream is not self._wire and (request := self.translated()) is not None:
            most = cap or facts.client_max_tokens or self._model.output_tokens_max or OUTPUT_TOKENS_ASSUMED
            model, field = deployment.upstream_model, deployment.cap_field
            return written_request(self._wire, upstream, request, model, most, field)
        return self._wire.requests.outgoing(
            self._body,
            facts,
            model=deployment.upstream_model,
            cap=cap,
            cap_field=deployment.cap_field,
            ask_usage=deployment.ask_usage,
        )

    def _read(self) -> NeutralRequest | FieldRefused:
        """The request in the neutral form, tried on each deployment that would be sent it so."""
        if self._translated is None:
            try:
                self._translated = self._tried()
            except FieldRefused as error:
                self._translated = error
        return self._translated

    def _tried(self) -> NeutralRequest:
        request = half_of(self._wire).read_request(self._body)
        for deployment in self._model.deployments:
            upstream = None if self._wire.name in deployment.speaks else _translatable_to(deployment)
            if upstream is not None:
                written_request(self._wire, upstream, request, self._model.alias, 1, deployment.cap_field)
        return request


def speakable(wire: WireFormat, deployment: Deployment, *, translatable: bool) -> bool:
    """Whether a request in this format can go there, as it is or translated."""
    if wire.name in deployment.speaks:
        return True
    return translatable and wire.half is not None and _translatable_to(deployment) is not None


def _translatable_to(deployment: Deployment) -> WireFormat | None:
    return next((FORMATS[name] for name in deployment.speaks if FORMATS[name].half is not None), None)


def _counts_alike(model: Model) -> bool:
    """Whether what one deployment reported as input bounds what another will: their tokenizers are of one family."""
    deployments = model.deployments
    return len(deployments) == 1 or len({token_factor(each.upstream_model) for each in deployments}) == 1


def _path(wire: WireFormat, query: Mapping[str, str], *, stream: bool) -> str:
    """Where the request goes, below the provider's address, with what of the client's query goes along."""
    path = wire.path_for(stream=stream)
    passed = {name: query[name] for name in wire.passed_query if name in query}
    return f"{path}?{urlencode(passed)}" if passed else path


def _of_images(facts: RequestFacts, model: Model) -> int:
    return facts.content.images * (model.image_tokens_max or IMAGE_TOKENS_ASSUMED)


def _may_be_sound(facts: RequestFacts, rules: EstimateRules) -> int:
    """A file may hold sound, and its kind is not always told."""
    content = facts.content
    return content.audio_parts * (rules.audio_tokens or 0) + content.file_parts * (rules.file_tokens or 0)


def _uncounted(facts: RequestFacts, rules: EstimateRules) -> tuple[str, ...]:
    if facts.content is NO_CONTENT_BUT_TEXT:
        return ()
    audio = ("audio",) if facts.content.audio_parts and rules.audio_tokens is None else ()
    files = ("files",) if facts.content.file_parts and rules.file_tokens is None else ()
    return (*audio, *files)
