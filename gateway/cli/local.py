"""The admin API without a server: the books are opened, one request is answered by the same handlers, and closed again.

Whoever may open the books' files needs no token; a token for this one request is made on the way.
"""

import asyncio
import io
import secrets
from collections.abc import Mapping
from typing import Any

import httpx2

from gateway.app import opened
from gateway.cli.output import FINDING, UNAVAILABLE, fail
from gateway.policy.findings import PolicyInvalid
from gateway.settings import Loaded
from gateway.storage.files import BooksOpen, BooksRefused


def answer(
    loaded: Loaded, method: str, path: str, body: Mapping[str, Any] | None, actor: str
) -> tuple[int, dict[str, Any]]:
    """(status, JSON object). Ends the command if the books or the policy cannot be opened."""
    try:
        return asyncio.run(_answer(loaded, method, path, body, actor))
    except BooksOpen as error:
        advice = "If that is a server, name it in COMPTROLLER_URL and its token in COMPTROLLER_ADMIN_TOKEN."
        fail(f"{error}\n{advice}", UNAVAILABLE)
    except BooksRefused as error:
        fail(str(error), UNAVAILABLE)
    except PolicyInvalid as error:
        fail("\n".join(str(finding) for finding in error.findings), FINDING)


async def _answer(
    loaded: Loaded, method: str, path: str, body: Mapping[str, Any] | None, actor: str
) -> tuple[int, dict[str, Any]]:
    async with opened(loaded, tools=False, log_to=io.BytesIO()) as application:
        token = secrets.token_urlsafe(32)
        application.node.admin_digest = application.node.digest_of(token)
        transport = httpx2.ASGITransport(app=application.asgi)
        headers = {"authorization": f"Bearer {token}", "x-comptroller-actor": actor}
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            reply = await client.request(method, path, headers=headers, json=body)
        found = reply.json()
        return reply.status_code, found if isinstance(found, dict) else {}
