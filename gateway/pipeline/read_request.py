"""From a body to a `ModelAsk`: what is asked for, how heavy the prompt is, which turn it continues."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson

from gateway.core.call import Arrival, Kind
from gateway.core.catalog import IMAGE_TOKENS_ASSUMED, OUTPUT_TOKENS_ASSUMED, Deployment, EstimateRules, Model
from gateway.core.denial import Code, Denial, Refused
from gateway.core.estimate import Prompt, TurnMemory, Weight, digest
from gateway.core.model_ask import ModelAsk
from gateway.core.tool_name import BUILTIN_PREFIX
from gateway.core.wire.facts import NO_CONTENT_BUT_TEXT, FieldRefused, RequestFacts
from gateway.core.wire.format import WireFormat
from gateway.core.wire.formats import FORMATS
from gateway.core.wire.neutral import NeutralRequest
from gateway.core.wire.openai_embeddings import EmbeddingsFacts, read_embeddings
from gateway.pipeline.plane import Plane
from gateway.pipeline.translate import half_of


def request_facts(arrival: Arrival) -> RequestFacts:
    try:
        return arrival.format.requests.read(arrival.body)
    except FieldRefused as error:
        raise Refused(field_denial(error)) from error


def embeddings_facts(body: Mapping[str, Any]) -> EmbeddingsFacts:
    try:
        return read_embeddings(body)
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
    constants = _constants(facts, model, rules)
    not_inline = constants - facts.content.data_url_bytes
    weight = Weight(arrival.body_bytes + not_inline, len(packed) + not_inline, constants)
    prompt = Prompt(head, packed, packed_digest, len(messages), weight)
    canonical = canonical_tools(
        plane,
        [name for name in facts.tools if name not in stripped],
        [name for name in facts.provider_tools if name not in stripped],
    )

    sending = _Sending(wire, body, facts, model, _translated(wire, body, model))
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
        left_out=sending.left_out,
        declared=() if sending.translated is None else sending.translated.tools,
        stream=facts.stream,
        include_usage=facts.include_usage,
        choices=facts.choices,
        client_max_tokens=facts.client_max_tokens,
        produces_output=True,
        sliceable=facts.stream and facts.choices == 1 and not (model.hidden_reasoning or facts.hidden),
        thinking_tokens=facts.thinking_tokens,
        tools=canonical,
        continues=turns.previous(prompt),
        service_tiers=None if facts.service_tier == "auto" else frozenset({facts.service_tier}),
        uncounted=_uncounted(facts, rules),
        request_digest=digest(orjson.dumps(rest) + packed_digest + plane.digest_key),
    )


def embeddings_ask(plane: Plane, arrival: Arrival, facts: EmbeddingsFacts, model: Model) -> ModelAsk:
    body = arrival.body
    at_most = arrival.body_bytes if facts.texts else facts.ready_tokens
    weight = Weight(at_most, at_most, 0 if facts.texts else facts.ready_tokens)
    packed = orjson.dumps(body.get("input"))

    def make(deployment: Deployment, _cap: int | None) -> Mapping[str, Any]:
        return {**body, "model": deployment.upstream_model}

    return ModelAsk(
        kind=Kind.EMBEDDINGS,
        model=model,
        format=arrival.format,
        path="/embeddings",
        headers=(),
        prompt=Prompt(digest(facts.model.encode()), packed, digest(packed), facts.inputs, weight),
        texts=lambda: facts.texts,
        outgoing=make,
        spoken=lambda deployment: arrival.format if arrival.format.name in deployment.speaks else None,
        left_out=(),
        declared=(),
        stream=False,
        include_usage=False,
        choices=1,
        client_max_tokens=None,
        produces_output=False,
        sliceable=False,
        thinking_tokens=0,
        tools={},
        continues=None,
        service_tiers=frozenset(),
        uncounted=(),
        request_digest=digest(packed + plane.digest_key),
    )


def _refuse_unpriced(facts: RequestFacts, stripped: frozenset[str]) -> None:
    for name in facts.unpriced:
        if name not in stripped:
            text = (
                f"The tool `{name.removeprefix(BUILTIN_PREFIX)}` is run by the provider for a fee that no price here "
                "covers; leave it out."
            )
            raise Refused(Denial(Code.FIELD_UNSUPPORTED, text, field="tools"))


class _Sending(NamedTuple):
    """One request as each deployment of its model is sent it."""

    wire: WireFormat
    body: Mapping[str, Any]
    facts: RequestFacts
    model: Model
    translated: NeutralRequest | None

    @property
    def left_out(self) -> tuple[str, ...]:
        return () if self.translated is None else self.translated.left_out

    def spoken(self, deployment: Deployment) -> WireFormat | None:
        if self.wire.name in deployment.speaks:
            return self.wire
        return None if self.translated is None else _translatable_to(deployment)

    def body_for(self, deployment: Deployment, cap: int | None) -> Mapping[str, Any]:
        facts, translated, upstream = self.facts, self.translated, self.spoken(deployment)
        if translated is not None and upstream is not None and upstream is not self.wire:
            most = cap or facts.client_max_tokens or self.model.output_tokens_max or OUTPUT_TOKENS_ASSUMED
            write = half_of(upstream).write_request
            return write(translated, deployment.upstream_model, most, deployment.cap_field)
        return self.wire.requests.outgoing(
            self.body,
            facts,
            model=deployment.upstream_model,
            cap=cap,
            cap_field=deployment.cap_field,
            ask_usage=deployment.ask_usage,
        )


def speakable(wire: WireFormat, deployment: Deployment) -> bool:
    """Whether a request in this format can go there, as it is or translated."""
    return wire.name in deployment.speaks or (wire.half is not None and _translatable_to(deployment) is not None)


def _translatable_to(deployment: Deployment) -> WireFormat | None:
    return next((FORMATS[name] for name in deployment.speaks if FORMATS[name].half is not None), None)


def _translated(wire: WireFormat, body: Mapping[str, Any], model: Model) -> NeutralRequest | None:
    """The request for deployments that speak another format, None if it is for none of them. Raises Refused where it
    cannot be translated and no deployment takes it as it is."""
    foreign = [deployment for deployment in model.deployments if wire.name not in deployment.speaks]
    if not foreign or wire.half is None:
        return None
    try:
        request = wire.half.read_request(body)
        for deployment in foreign:
            if (upstream := _translatable_to(deployment)) is not None:
                half_of(upstream).write_request(request, model.alias, 1, deployment.cap_field)
    except FieldRefused as error:
        if len(foreign) == len(model.deployments):
            raise Refused(field_denial(error)) from error
        return None
    return request


def _path(wire: WireFormat, query: Mapping[str, str], *, stream: bool) -> str:
    """Where the request goes, below the provider's address, with what of the client's query goes along."""
    path = wire.path_for(stream=stream)
    passed = {name: query[name] for name in wire.passed_query if name in query}
    return f"{path}?{urlencode(passed)}" if passed else path


def _constants(facts: RequestFacts, model: Model, rules: EstimateRules) -> int:
    content = facts.content
    if content is NO_CONTENT_BUT_TEXT:
        return 0
    images = content.images * (model.image_tokens_max or IMAGE_TOKENS_ASSUMED)
    return images + content.audio_parts * (rules.audio_tokens or 0) + content.file_parts * (rules.file_tokens or 0)


def _uncounted(facts: RequestFacts, rules: EstimateRules) -> tuple[str, ...]:
    if facts.content is NO_CONTENT_BUT_TEXT:
        return ()
    audio = ("audio",) if facts.content.audio_parts and rules.audio_tokens is None else ()
    files = ("files",) if facts.content.file_parts and rules.file_tokens is None else ()
    return (*audio, *files)
