"""Providers, the models that clients see, and prices."""

from collections.abc import Iterator, Mapping
from datetime import date
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from gateway.core.wire import vertex
from gateway.core.wire.formats import GEMINI_BATCH_EMBED, GEMINI_EMBED, OPENAI_TASKS
from gateway.settings.entra import Entra
from gateway.settings.fields import (
    ApiKey,
    Count,
    Day,
    Factor,
    Flag,
    Headers,
    HttpUrl,
    Items,
    Name,
    PicosPerToken,
    Seconds,
    SecretReference,
    Table,
    UsdMicros,
    Words,
    setting,
)
from gateway.settings.findings import Fault, Flaw, suggestion
from gateway.settings.google import Google
from gateway.settings.presets import LOCAL, PRESETS
from gateway.settings.section import Section

OPENAI_URL = "https://api.openai.com/v1"
ANTHROPIC_URL = "https://api.anthropic.com/v1"
GEMINI_URL = "https://generativelanguage.googleapis.com"
_HOSTED: Mapping[str, str] = MappingProxyType({"openai": OPENAI_URL, "anthropic": ANTHROPIC_URL, "gemini": GEMINI_URL})
_BEDROCK_URL = "https://bedrock-runtime.{}.amazonaws.com"
_VERTEX_URL = "https://{}/v1/projects/{}/locations/{}"
_VERTEX_HOSTS: Mapping[str, str] = MappingProxyType(
    {
        "global": "aiplatform.googleapis.com",
        "us": "aiplatform.us.rep.googleapis.com",
        "eu": "aiplatform.eu.rep.googleapis.com",
    }
)
"""Of locations that are no single region."""
_SPEAKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "anthropic": ("anthropic_messages",),
        "gemini": ("gemini", GEMINI_EMBED.name, GEMINI_BATCH_EMBED.name),
        "bedrock": ("bedrock_converse", "bedrock_invoke"),
    }
)
_TASKS = tuple(wire.name for wire in OPENAI_TASKS)
_OF_VERTEX = ("project", "location", "google")
_BY_PUBLISHER: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {vertex.ANTHROPIC: _SPEAKS["anthropic"], vertex.GOOGLE: ("gemini",)}
)
_OF_AWS = ("region", "access_key_id", "secret_access_key", "session_token")
Tokens = Annotated[Count, Field(ge=1)]


def _preset(name: str) -> str:
    if name not in PRESETS:
        raise Fault("is not known", suggestion(name, PRESETS, otherwise="known"))
    return name


class Provider(Section):
    kind: Literal[
        "openai", "anthropic", "gemini", "azure_openai", "bedrock", "vertex", "openai_compatible", "simulated"
    ] = setting(..., "Which API it speaks.")
    preset: Annotated[str, AfterValidator(_preset), WithJsonSchema({"enum": list(PRESETS)})] | None = setting(
        None, f"`openai_compatible`: a server or service that is known by name: {', '.join(PRESETS)}."
    )
    base_url: HttpUrl | None = setting(
        None,
        f"Address up to `/v1`. `openai`: `{OPENAI_URL}`; `anthropic`: `{ANTHROPIC_URL}`; `gemini`, without a path: "
        f"`{GEMINI_URL}`; `bedrock`, without a path: by its region; `vertex`, up to the location: by `project` and "
        "`location`; `azure_openai`: the resource's up to `/openai/v1`; "
        "`openai_compatible`: required without a `preset`.",
    )
    api_key: ApiKey = setting(
        None,
        "Credential, by reference. `none` for a local server that asks for none. `bedrock`: a Bedrock API key; without "
        "one, requests are signed.",
    )
    api_keys: Items[SecretReference] = setting(
        (),
        "Several credentials in place of `api_key`, by reference. Calls take turns among them; one that is refused "
        "(401, 403, 429) is left alone for a while and the call is sent with the next.",
    )
    region: Words | None = setting(None, "`bedrock`: the AWS region, such as `eu-central-1`.")
    access_key_id: ApiKey = setting(
        None, "`bedrock`: access key that signs, by reference; none: what AWS's own chain of credentials finds."
    )
    secret_access_key: ApiKey = setting(None, "`bedrock`: its secret, by reference.")
    session_token: ApiKey = setting(None, "`bedrock`: its session token, by reference, for temporary keys.")
    entra: Entra | None = setting(
        None, "`azure_openai`: tokens of Microsoft Entra ID in place of `api_key`; how the gateway shows who it is."
    )
    project: Words | None = setting(None, "`vertex`: the Google Cloud project, by id.")
    location: Words | None = setting(None, "`vertex`: where models run, such as `europe-west1`, `eu`, or `global`.")
    google: Google | None = setting(None, "`vertex`: how the gateway shows Google Cloud who it is.")
    headers: Headers = setting({}, "Headers added to each request. Secret ones by reference.")
    include_usage: Flag = setting(
        True, "Ask for usage at the end of streams. Off only for servers that refuse the field."
    )
    responses: Flag | None = setting(
        None, "Whether it serves `/responses`. `openai`: yes; `openai_compatible`: only if this says so."
    )
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = setting(
        None, "Field that caps the output. `openai`: `max_completion_tokens`; others: `max_tokens`."
    )

    @model_validator(mode="after")
    def _fits_kind(self) -> "Provider":
        flaws: list[Flaw] = []
        if self.preset is not None and self.kind != "openai_compatible":
            flaws.append(Flaw("is only for `openai_compatible`", "remove it", ("preset",)))
        if self.kind != "bedrock":
            given = [name for name in _OF_AWS if getattr(self, name) is not None]
            flaws += [Flaw("is only for `bedrock`", "remove it", (name,)) for name in given]
        elif self.region is None:
            flaws.append(Flaw("is missing", "the AWS region of the account, such as `eu-central-1`", ("region",)))
        if self.entra is not None and self.kind != "azure_openai":
            flaws.append(Flaw("is only for `azure_openai`", "remove it", ("entra",)))
        flaws += self._flaws_of_vertex()
        if (self.access_key_id is None) is not (self.secret_access_key is None):
            flaws.append(Flaw("goes with `secret_access_key`", "give both or none", ("access_key_id",)))
        if self.api_keys and "api_key" in self.model_fields_set:
            flaws.append(Flaw("goes without `api_key`", "put all of them under `api_keys`", ("api_keys",)))
        revealed = [key.reveal() for key in self.api_keys]
        if len(set(revealed)) < len(revealed):
            flaws.append(Flaw("names one credential twice", "remove one", ("api_keys",)))
        if self.kind == "simulated":
            given = [name for name in ("base_url", "api_key", "api_keys", "headers") if getattr(self, name)]
            flaws += [Flaw("a simulated provider has none", "remove it", (name,)) for name in given]
        elif self.kind in _HOSTED and self.api_key is None and not self.api_keys and not self._asks_for_none:
            flaws.append(Flaw("is missing", f"write `${{{self.kind.upper()}_API_KEY}}`", ("api_key",)))
        elif self.kind in ("openai_compatible", "azure_openai"):
            flaws += self._flaws_of_compatible()
        if flaws:
            raise Fault.of(flaws)
        return self

    def _flaws_of_vertex(self) -> Iterator[Flaw]:
        if self.kind != "vertex":
            for name in _OF_VERTEX:
                if getattr(self, name) is not None:
                    yield Flaw("is only for `vertex`", "remove it", (name,))
            return
        if self.google is None:
            yield Flaw("is missing", "`{service_account: ${file:key.json}}`, or `{metadata: true}`", ("google",))
        if self.api_key is not None or self.api_keys:
            yield Flaw(
                "is not for `vertex`, which takes tokens", "remove it", ("api_key" if self.api_key else "api_keys",)
            )
        for name, example in (("project", "my-project-1234"), ("location", "europe-west1")):
            given = getattr(self, name)
            if self.base_url is None and given is None:
                yield Flaw("is missing", f"such as `{example}`", (name,))
            elif given is not None and not given.replace("-", "").replace(":", "").replace(".", "").isalnum():
                yield Flaw("is not one", f"such as `{example}`", (name,))

    def _flaws_of_compatible(self) -> Iterator[Flaw]:
        if self.kind == "azure_openai":
            keyed = self.api_key is not None or bool(self.api_keys)
            if keyed and self.entra is not None:
                yield Flaw("goes without keys", "remove it, or `api_key` and `api_keys`", ("entra",))
            if not keyed and self.entra is None:
                yield Flaw("is missing", "write `${AZURE_OPENAI_API_KEY}`, or set `entra`", ("api_key",))
            if self.base_url is None or not self.base_url.endswith("/openai/v1"):
                hint = "the resource's address, such as `https://NAME.openai.azure.com/openai/v1`"
                yield Flaw("must end with `/openai/v1`", hint, ("base_url",))
            return
        if "api_key" not in self.model_fields_set and not self.api_keys and self.preset not in LOCAL:
            yield Flaw("is missing", "write `${NAME}`, or `none` if the server asks for none", ("api_key",))
        if self.base_url is None and self.preset is None:
            yield Flaw("is missing", "the address of the server, up to `/v1`", ("base_url",))

    @property
    def _asks_for_none(self) -> bool:
        """Whether it is said that the server at this address takes calls without a key."""
        return self.base_url is not None and "api_key" in self.model_fields_set

    @property
    def keys(self) -> tuple[str | None, ...]:
        """All credentials, as they are shown to the provider; one None = it is shown none."""
        if self.api_keys:
            return tuple(key.reveal() for key in self.api_keys)
        return (None if self.api_key is None else self.api_key.reveal(),)

    @property
    def url(self) -> str | None:
        """The address that requests go to; None for the simulated provider."""
        if self.kind == "bedrock" and self.base_url is None:
            return _BEDROCK_URL.format(self.region)
        if self.kind == "vertex" and self.base_url is None:
            host = _VERTEX_HOSTS.get(self.location or "", f"{self.location}-aiplatform.googleapis.com")
            return _VERTEX_URL.format(host, self.project, self.location)
        return self.base_url or _HOSTED.get(self.kind) or PRESETS.get(self.preset or "")

    @property
    def speaks(self) -> tuple[str, ...]:
        """The names of the wire formats that it takes, see `gateway.core.wire.formats`."""
        if self.kind not in ("openai", "azure_openai", "openai_compatible"):
            return _SPEAKS.get(self.kind, ("openai_chat",))
        responses = self.kind != "openai_compatible" if self.responses is None else self.responses
        return ("openai_chat", "openai_completions", *(("openai_responses",) if responses else ()), *_TASKS)

    def spoken_by(self, model: str) -> tuple[str, ...]:
        """The same of one model there."""
        if self.kind != "vertex":
            return self.speaks
        return _BY_PUBLISHER.get(vertex.publisher_of(model) or "", ())

    @property
    def output_cap_field(self) -> str:
        of_openai = self.kind in ("openai", "azure_openai")
        return self.max_tokens_field or ("max_completion_tokens" if of_openai else "max_tokens")


class Rates(Section):
    """USD per million tokens in the file, pico-USD a token in the program (the same digits, times a million)."""

    input_picos_per_token: PicosPerToken = setting(..., "USD per million input tokens.", alias="input_usd_per_mtok")
    output_picos_per_token: PicosPerToken = setting(..., "USD per million output tokens.", alias="output_usd_per_mtok")
    cached_input_picos_per_token: PicosPerToken | None = setting(
        None, "USD per million input tokens read from a cache; none: as input.", alias="cached_input_usd_per_mtok"
    )
    cache_write_picos_per_token: PicosPerToken | None = setting(
        None, "USD per million input tokens written to a cache; none: as input.", alias="cache_write_usd_per_mtok"
    )
    cache_write_1h_picos_per_token: PicosPerToken | None = setting(
        None, "The same where it is kept for an hour; none: as other writes.", alias="cache_write_1h_usd_per_mtok"
    )
    image_usd_micros: UsdMicros | None = setting(
        None, "USD per image that is made; none: images are billed by tokens.", alias="image_usd"
    )
    image_kinds_usd_micros: Table[UsdMicros] = setting(
        {}, "The same for a quality, a size or both: `hd`, `1024x1792`, `hd/1024x1792`.", alias="image_usd_by"
    )
    image_input_picos_per_token: PicosPerToken | None = setting(
        None, "USD per million input tokens of images; none: as input.", alias="image_input_usd_per_mtok"
    )
    image_output_picos_per_token: PicosPerToken | None = setting(
        None, "USD per million output tokens of images; none: as output.", alias="image_output_usd_per_mtok"
    )
    cached_audio_input_picos_per_token: PicosPerToken | None = setting(
        None, "The same where it is sound; none: as other cache reads.", alias="cached_audio_input_usd_per_mtok"
    )
    audio_input_picos_per_token: PicosPerToken | None = setting(
        None, "USD per million input tokens of sound; none: as input.", alias="audio_input_usd_per_mtok"
    )
    audio_output_picos_per_token: PicosPerToken | None = setting(
        None, "USD per million output tokens of sound; none: as output.", alias="audio_output_usd_per_mtok"
    )
    audio_usd_micros_per_minute: UsdMicros | None = setting(
        None, "USD per minute of sound that is transcribed; none: by tokens.", alias="audio_usd_per_minute"
    )
    picos_per_character: PicosPerToken | None = setting(
        None, "USD per million characters that are spoken; none: by tokens.", alias="characters_usd_per_million"
    )
    web_search_usd_micros: UsdMicros | None = setting(
        None, "USD per search of the web that the provider runs; none: such tools are refused.", alias="web_search_usd"
    )
    file_search_usd_micros: UsdMicros | None = setting(
        None, "The same for searches of files that are stored there.", alias="file_search_usd"
    )


class Price(Rates):
    from_date: Day | None = setting(None, "First day (UTC) on which it holds; none: always.", alias="from")


def _dated(value: object) -> object:
    return value if isinstance(value, (tuple, list)) else (value,)


def _in_order(prices: tuple[Price, ...]) -> tuple[Price, ...]:
    days = [price.from_date for price in prices]
    if len(set(days)) != len(days):
        raise Fault("has two prices from the same day on", "give each a different `from`; only one can be without")
    return tuple(sorted(prices, key=lambda price: price.from_date or date.min))


Prices = Annotated[Items[Price], BeforeValidator(_dated), AfterValidator(_in_order)]
"""One price, or a list of dated ones; in the program always a tuple, the earliest first."""


class UnknownPrice(Section):
    """`deny`, or rates to go by; `estimate` is None for deny."""

    estimate: Rates | None = setting(
        None, "Rates for models without a price. What is booked by them is marked as estimate."
    )

    @model_validator(mode="before")
    @classmethod
    def _deny(cls, data: Any) -> Any:
        if isinstance(data, str):
            if data != "deny":
                raise Fault("must be `deny` or `{estimate: {...}}`")
            return {}
        if isinstance(data, dict) and "estimate" not in data:
            raise Fault("must be `deny` or `{estimate: {...}}`")
        return data


class PriceBook(Section):
    unknown: UnknownPrice = setting("deny", "A call whose price is unknown is denied, or booked by an estimate.")
    overrides: Table[Prices] = setting({}, "Prices by model name: the client's name, or the provider's.")


class Deployment(Section):
    provider: Name = setting(..., "Name of a provider.")
    model: Words | None = setting(None, "The provider's name for the model; none: the client's name.")
    priority: Annotated[Count, Field(ge=0, le=1000)] = setting(
        0, "Lower ones are tried first; those of one priority in the way that `balance` says."
    )
    weight: Annotated[Count, Field(ge=1, le=1000)] = setting(
        1, "Its part of the calls (`balance: weight`), or of the calls in flight (`least_loaded`)."
    )


class ModelCache(Section):
    """Answers that are given again to the same request."""

    kept_for_s: Seconds = setting("10m", "How long an answer is kept, in memory only.", alias="kept_for")
    shared_by: Literal["key", "user", "team", "everyone"] = setting(
        "key", "Who is given an answer again that another one of them got. `everyone`: all keys of this gateway."
    )


class Model(Section):
    provider: Name | None = setting(None, "Name of the provider that serves it. Or `deployments`.")
    model: Words | None = setting(None, "The provider's name for the model; none: the client's name.")
    deployments: Items[Deployment] = setting((), "Several places that serve it, the first preferred.")
    balance: Literal["order", "weight", "least_loaded", "cheapest"] = setting(
        "order",
        "Which of `deployments` of one priority is tried first: the first one; by turns, as their weights say; the one "
        "with the fewest calls in flight; the one where the call costs least. The others are fallen back on.",
    )
    tier: Name | None = setting(None, "Word that limits select by (`model_tier`).")
    price: Prices = setting((), "Price, or a list of dated prices; none: from the price book.")
    max_output_tokens: Tokens | None = setting(None, "Most tokens one answer can have.")
    image_tokens_max: Tokens | None = setting(None, "Tokens that one image costs at most.")
    token_factor: Annotated[Factor, Field(gt=0, le=10)] | None = setting(
        None, "Tokens of this model for one token of `o200k`; none: by the model's family."
    )
    cache: ModelCache | None = setting(
        None, "Keeps answers and gives them again to the same request, charged at zero; none: each call is sent."
    )
    hidden_reasoning: Flag | None = setting(
        None, "The model reasons without showing it, so that its output cannot be metered; none: by the model's family."
    )

    @model_validator(mode="after")
    def _served_somewhere(self) -> "Model":
        if self.provider is None and not self.deployments:
            raise Fault("needs `provider` or `deployments`")
        if self.provider is not None and self.deployments:
            raise Fault("has both `provider` and `deployments`", "put all of them under `deployments`")
        if self.deployments and self.model is not None:
            raise Fault("goes with `provider`; each of `deployments` has its own", at=("model",))
        return self

    def targets(self, alias: str) -> tuple[tuple[str, str], ...]:
        """(provider, the provider's model name) in order of preference. `alias` is the client's name."""
        if self.provider is not None:
            return ((self.provider, self.model or alias),)
        return tuple((deployment.provider, deployment.model or alias) for deployment in self.deployments)
