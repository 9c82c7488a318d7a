"""Webhook and Slack: one POST to the configured address. No redirect is followed, no proxy or cookie is taken up.

The address may itself be a secret, so no error names more than what went wrong.
"""

import ssl
from collections.abc import Callable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2
import orjson

from gateway.core.alert_delivery import Tried
from gateway.core.alert_message import document, signature, slack_message
from gateway.core.outbox import RaisedAlert
from gateway.ports import Clock

TIMEOUT_S = 10.0
GONE = 410
Write = Callable[[RaisedAlert], tuple[bytes, Mapping[str, str]]]


class HttpChannel:
    """`write` makes body and headers of an attempt. Create it inside the running event loop, `close` it in the end."""

    def __init__(self, name: str, url: str, write: Write, trusted: ssl.SSLContext) -> None:
        self.name = name
        self._url = url
        self._write = write
        self._client = httpx2.AsyncClient(
            verify=trusted,
            trust_env=False,
            follow_redirects=False,
            timeout=TIMEOUT_S,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    async def send(self, raised: RaisedAlert) -> Tried:
        body, headers = self._write(raised)
        try:
            async with self._client.stream(
                "POST",
                self._url,
                content=body,
                headers={"content-type": "application/json", "user-agent": "comptroller", **headers},
            ) as reply:
                return _judged(reply.status_code, reply.headers.get("retry-after"))
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            return Tried(f"not reached ({type(error).__name__})")

    async def close(self) -> None:
        await self._client.aclose()


def webhook(url: str, secret: str | None, clock: Clock, trusted: ssl.SSLContext) -> HttpChannel:
    """Signed as Standard Webhooks are, if there is a secret."""

    def write(raised: RaisedAlert) -> tuple[bytes, Mapping[str, str]]:
        body = orjson.dumps(document(raised))
        at_s = clock.now_us() // 1_000_000
        headers = {"webhook-id": raised.id, "webhook-timestamp": str(at_s)}
        if secret is not None:
            headers["webhook-signature"] = signature(secret, raised.id, at_s, body)
        return body, headers

    return HttpChannel("webhook", url, write, trusted)


def slack(url: str, trusted: ssl.SSLContext) -> HttpChannel:
    return HttpChannel("slack", url, lambda raised: (orjson.dumps(slack_message(raised)), {}), trusted)


def _judged(status: int, retry_after: str | None) -> Tried:
    if 200 <= status < 300:
        return Tried()
    if 300 <= status < 400:
        return Tried(f"answered {status}: redirects are not followed")
    wait_s = float(retry_after) if retry_after is not None and retry_after.isdigit() else None
    return Tried(f"answered {status}", status == GONE, wait_s)
