"""Tool servers behind the MCP endpoint."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gateway.settings.fields import (
    Headers,
    HttpUrl,
    Items,
    Keyed,
    Seconds,
    SecretReference,
    ServerName,
    UsdMicros,
    Variables,
    Words,
    setting,
)
from gateway.settings.findings import Fault, Flaw
from gateway.settings.section import Section


class McpAuth(Section):
    bearer: SecretReference = setting(..., "Bearer token, by reference.")


class McpServer(Section):
    transport: Literal["http", "stdio"] = setting(..., "Reached over streamable HTTP, or started as a program.")
    url: HttpUrl | None = setting(None, "`http`: address of the endpoint.")
    auth: McpAuth | None = setting(None, "`http`: how the gateway shows who it is.")
    headers: Headers = setting({}, "`http`: headers added to each request. Secret ones by reference.")
    command: Annotated[Items[Words], Field(max_length=256)] = setting((), "`stdio`: program and arguments; no shell.")
    env: Variables = setting(
        {}, "`stdio`: variables of the program, beside a few harmless ones. Secret ones by reference."
    )
    cwd: Words | None = setting(None, "`stdio`: directory it starts in, relative to the configuration file.")
    price_usd_micros_per_call: UsdMicros = setting(
        0, "USD that a call of its tools is booked with.", alias="price_usd_per_call"
    )
    timeout_s: Seconds = setting("60s", "For one tool call.", alias="timeout")

    @model_validator(mode="after")
    def _fits_transport(self) -> "McpServer":
        over_http = self.transport == "http"
        needed, foreign = ("url", ("command", "env", "cwd")) if over_http else ("command", ("url", "auth", "headers"))
        flaws = [
            Flaw(f"does not go with `transport: {self.transport}`", at=(name,))
            for name in foreign
            if getattr(self, name)
        ]
        if not getattr(self, needed):
            flaws.append(Flaw("is missing", f"`transport: {self.transport}` needs it", (needed,)))
        if flaws:
            raise Fault.of(flaws)
        return self


class Mcp(Section):
    servers: Keyed[ServerName, McpServer] = setting({}, "Tool servers by name; their tools are called `name__tool`.")
