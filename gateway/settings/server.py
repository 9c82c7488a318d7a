"""The process itself: where it listens, where its books lie, which bounds it keeps."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from gateway.settings.fields import (
    Bytes,
    Count,
    Flag,
    HttpUrl,
    Items,
    Seconds,
    SecretReference,
    TimeZone,
    Words,
    section,
    setting,
)
from gateway.settings.findings import Fault
from gateway.settings.section import Section

Port = Annotated[Count, Field(le=65535)]
Tokens = Annotated[Count, Field(ge=1)]


class Server(Section):
    host: Words = setting("127.0.0.1", "Address to listen on. `0.0.0.0` is every interface.")
    port: Port = setting(8080, "TCP port; `0` takes a free one.")
    public_url: HttpUrl | None = setting(None, "Address under which clients reach the gateway, for links in messages.")
    server: Literal["hypercorn", "uvicorn"] = setting(
        "hypercorn", "ASGI server. The extra `[fast]` makes `uvicorn` fast; it has no time limit for headers."
    )
    workers: Annotated[Count, Field(ge=1)] = setting(1, "Processes that serve.")
    fast_path: Flag = setting(
        True, "Hand hot requests to the same handlers without the web framework's request context."
    )


class Breaker(Section):
    failures: Annotated[Count, Field(ge=0, le=1000)] = setting(
        5,
        "Failures in a row (no connection, no answer in time, 5xx, an answer that breaks off) that open it; 0: never.",
    )
    pause_s: Seconds = setting("5s", "How long nothing is sent then; then one call tries.", alias="pause")
    pause_max_s: Seconds = setting("60s", "Each try that fails doubles the pause, up to this.", alias="pause_max")

    @model_validator(mode="after")
    def _in_order(self) -> "Breaker":
        if self.pause_s > self.pause_max_s:
            raise Fault("is longer than `pause_max`", at=("pause",))
        return self


class Retries(Section):
    again: Annotated[Count, Field(ge=0, le=3)] = setting(
        1, "How often a call is tried once more that reached no deployment at all (no connection)."
    )
    percent: Annotated[Count, Field(ge=0, le=100)] = setting(
        20,
        "Further attempts of calls at a provider, for a hundred calls of the last 10 to 20 s; three are always free. "
        "0: none at all, also at the next deployment.",
    )


class UpstreamClient(Section):
    client: Literal["http1", "aiohttp", "httpx"] = setting(
        "http1",
        "HTTP client for providers. `http1` is made for forwarding; `aiohttp` is the usual library; `httpx` knows "
        "HTTP/2, SOCKS and corporate proxies and costs most CPU.",
    )
    breaker: Breaker = section(Breaker, "When a deployment that fails is left alone.")
    retries: Retries = section(Retries, "How much more providers are asked because they fail.")


def _sqlite_url(text: str) -> str:
    if text.startswith("sqlite:///") and text not in ("sqlite:///", "sqlite:///:memory:") and "?" not in text:
        return text
    raise Fault(
        "is not the address of a store", "write `sqlite:///var/comptroller.db`; four slashes for an absolute path"
    )


def _counters_url(text: str) -> str:
    if text == "memory://":
        return text
    raise Fault("is not the address of a counter store", "write `memory://`")


class Storage(Section):
    url: Annotated[str, AfterValidator(_sqlite_url)] = setting(
        "sqlite:///var/comptroller.db", "Where the books are. Three slashes: relative to the configuration file."
    )

    @property
    def sqlite_path(self) -> str:
        """The file, relative to the configuration file unless it starts with a slash."""
        return self.url.removeprefix("sqlite:///")


class Counters(Section):
    url: Annotated[str, AfterValidator(_counters_url)] = setting("memory://", "Where the hot counters are.")


class Policy(Section):
    model: Words = setting("model.conf", "Casbin model, relative to the configuration file.")
    files: Items[Words] = setting(("policies/",), "Policy files, and directories of `*.csv`, with their `tests.yaml`.")
    engine: Literal["compiled", "casbin"] = setting(
        "compiled", "`compiled` answers from a snapshot that is checked against Casbin; `casbin` asks Casbin each time."
    )
    timezone: TimeZone = setting("UTC", "Time zone of `time.*` in conditions.")


class Admin(Section):
    token: SecretReference | None = setting(
        None, "Bearer token of the admin API. Without it a one-time setup token is made at the first start."
    )


class Tools(Section):
    denied_declared: Literal["refuse", "strip"] = setting(
        "refuse", "A model call that declares a denied tool is refused, or goes on without that tool, said in a header."
    )


class Timeouts(Section):
    connect_s: Seconds = setting("5s", "To connect to a provider.", alias="connect")
    first_byte_s: Seconds = setting("120s", "To the first byte of its reply.", alias="first_byte")
    idle_s: Seconds = setting("120s", "Between two parts of a stream.", alias="idle")
    total_s: Seconds = setting("30m", "For a whole call.", alias="total")
    drain_s: Seconds = setting("30s", "For calls in flight when the gateway is told to stop.", alias="drain")

    @model_validator(mode="after")
    def _total_is_largest(self) -> "Timeouts":
        for name in ("connect", "first_byte", "idle"):
            if getattr(self, f"{name}_s") > self.total_s:
                raise Fault("is longer than `total`", at=(name,))
        return self


class Sizes(Section):
    body_max: Bytes = setting("32MiB", "Largest request body.")
    header_max: Bytes = setting("32KiB", "Largest sum of request headers.")
    reply_max: Bytes = setting("64MiB", "Largest reply of a provider that is not a stream.")
    cache_max: Bytes = setting("64MiB", "Memory for answers of models with a `cache`; the oldest leave first.")


class Idempotency(Section):
    kept_for_s: Seconds = setting("24h", "How long a key is remembered, and its reply at most.", alias="kept_for")
    memory_max: Bytes = setting("64MiB", "Memory for replies; the oldest leave first. A restart forgets them all.")
    reply_max: Bytes = setting("4MiB", "Largest reply that is kept.")


class Estimates(Section):
    """What a call is taken to cost before it is sent (rules 3-5)."""

    min_useful_output: Tokens = setting(256, "Tokens. A call is refused rather than cut below this output.")
    min_useful_output_hidden: Tokens = setting(4096, "The same for models that reason out of sight.")
    slice_min: Tokens = setting(2048, "Tokens. Smallest part of its output that a stream holds at a time.")
    file_tokens: Tokens | None = setting(None, "Held for each file that is not inline; none: refused under a limit.")
    audio_tokens: Tokens | None = setting(None, "Held for each piece of audio; none: refused under a limit.")
    search_tokens: Tokens = setting(8_000, "Held for what each search finds that a provider may run for a call.")


class Telemetry(Section):
    content_logging: Flag = setting(False, "Write prompts and answers to the log. Off: they are written nowhere.")
    log_format: Literal["json", "console"] = setting("json", "`console` is for people.")
