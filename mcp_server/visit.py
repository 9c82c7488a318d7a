"""One HTTP request to the endpoint after it was identified; rides in the ASGI scope to the handlers of the SDK."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcp_server.governance import Caller

SCOPE_KEY = "comptroller.visit"
SESSION_HEADER = "mcp-session-id"
GOVERNED_SESSION_HEADER = "x-comptroller-session"
CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "x-goog-api-key", "api-key"})


@dataclass(slots=True)
class Visit:
    """`server`: the one of `/mcp/{server}`, None for all. `headers`: without credentials, names in lower case.

    `raw` is the result as the client shall see it; the SDK's own copy has lost every field that it does not know.
    """

    caller: Caller
    server: str | None
    headers: Mapping[str, str]
    raw: dict[str, Any] | None = None

    @property
    def lane(self) -> str:
        """Whose state a stateful tool server may keep together: one downstream session, or, for clients of the era
        without sessions, one session of one key."""
        if (session := self.headers.get(SESSION_HEADER)) is not None:
            return f"session:{session}"
        return f"key:{self.caller.key_id}:{self.headers.get(GOVERNED_SESSION_HEADER, '')}"
