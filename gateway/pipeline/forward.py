"""Station 4: the call goes to a deployment of its alias. One hold covers all attempts; none follows the first byte.

Rule 31: what an upstream's refusal becomes. Its own 4xx go to the caller as they came (credentials taken out), because
they speak of the caller's request; 401 and 403 speak of our credential and do not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from gateway.core.catalog import Deployment
from gateway.core.denial import Code, Denial, Refused
from gateway.core.model_ask import ModelAsk
from gateway.core.upstream import TokenUnavailable, UpstreamError, UpstreamFailed, UpstreamTimeout
from gateway.core.upstream_health import Standing
from gateway.core.wire.format import MODEL, WireFormat
from gateway.pipeline.answer import ClientLeft
from gateway.pipeline.balance import places_of
from gateway.pipeline.capacity import BUSY
from gateway.pipeline.plane import Plane
from gateway.pipeline.reserve import Reserved
from gateway.ports import UpstreamReply

AGAIN_S = 0.25
"""Between two attempts to reach anybody: time for a server that restarts."""

_QUOTA_WORDS = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
        "enforced_spend_limit_reached",
    }
)
_QUOTA_SENTENCE = "reached your specified API usage limits"
"""With which Anthropic's API refuses; it has no code for it."""

_KEY_REFUSED = '"API_KEY_INVALID"'
"""With which Gemini's API refuses a key, as a 400."""

_OF_REFUSALS = ("retry-after", "x-amzn-errortype")
"""Headers that an upstream's own refusal keeps; Bedrock's errors have their type in one."""


class Sent(NamedTuple):
    """A reply whose headers are here. `place` is the deployment's place in the alias, `format` what it speaks."""

    place: int
    sent_ns: int
    deployment: Deployment
    reply: UpstreamReply
    format: WireFormat


class UpstreamSaidNo(Exception):
    """An upstream's own 4xx about the caller's request, to be passed on as it is."""

    def __init__(
        self, status: int, body: bytes, content_type: str, headers: Mapping[str, str], wire: WireFormat
    ) -> None:
        super().__init__(f"the upstream answered {status}")
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers
        self.format = wire


class _Unreached(Refused):
    """Nobody was reached: the call can be tried once more without being made twice."""


async def forward_model(plane: Plane, ask: ModelAsk, reserved: Reserved) -> Sent:
    """Raises Refused (`upstream_*`), FlightEnded or UpstreamSaidNo; then nothing was charged. A provider that is asked
    too much is asked again, within the same hold, where the call has a turn and a wait that it can bear may cure it."""
    turn, again = reserved.turn, plane.health.rules.again
    places = places_of(plane, ask) if turn is None else ()
    retry = False
    while True:
        try:
            if turn is not None:
                places = turn.places[turn.places.index(turn.place) :]
            return await _try_each(plane, ask, reserved, places, retry=retry)
        except _Unreached:
            if not again:
                raise
            again -= 1
            retry = True
            await asyncio.sleep(AGAIN_S)
        except UpstreamSaidNo as said_no:
            if turn is None or said_no.status not in BUSY or not await turn.again():
                raise


class _Tries:
    """What came of the attempts so far. `retry` = the next one is not the call's first; `shut` = left alone for now."""

    __slots__ = ("last", "retry", "shut")

    def __init__(self, *, retry: bool) -> None:
        self.last: Refused | UpstreamSaidNo | None = None
        self.retry = retry
        self.shut: list[Standing] = []

    def paid(self, plane: Plane, standing: Standing) -> bool:
        """Counts the next attempt at a provider. False = its budget for retries has none left."""
        now_us, retry = plane.health.now_us(), self.retry
        self.retry = True
        if retry:
            return standing.budget.take(plane.health.rules.retry_percent, now_us)
        standing.budget.called(now_us)
        return True


async def _try_each(plane: Plane, ask: ModelAsk, reserved: Reserved, places: Sequence[int], *, retry: bool) -> Sent:
    """`retry` = the call was sent before."""
    tries = _Tries(retry=retry)
    for index in places:
        deployment = ask.model.deployments[index]
        wire = ask.spoken(deployment)
        if wire is None:
            continue
        standing = plane.health.of(deployment)
        if not await _may_go(plane, reserved, deployment, index, standing, tries):
            continue
        if not tries.paid(plane, standing):
            break
        sent_ns = plane.clock.monotonic_ns()
        try:
            reply = await _attempt(plane, ask, deployment, wire, reserved, standing)
            return Sent(index, sent_ns, deployment, reply, wire)
        except UpstreamError as error:
            tries.last = (_Unreached if _is_unreached(error) else Refused)(upstream_denial(error))
            if getattr(error, "sent", True):
                break
        except (Refused, UpstreamSaidNo) as refused:
            tries.last = refused
            if isinstance(refused, UpstreamSaidNo) and refused.status != 429:
                break
    if tries.last is not None:
        raise tries.last
    if tries.shut:
        raise Refused(plane.health.all_open(ask.model, tries.shut))
    raise Refused(upstream_denial(UpstreamError("no deployment")))


async def _may_go(
    plane: Plane, reserved: Reserved, deployment: Deployment, index: int, standing: Standing, tries: _Tries
) -> bool:
    """Whether the call may be sent there: not while it is left alone, not beyond its provider's limits and capacity."""
    breaker = standing.breaker
    if breaker.open_until_us is not None and breaker.shut(plane.health.now_us()):
        tries.shut.append(standing)
        return False
    if not await _covered(plane, reserved, deployment):
        return False
    if reserved.turn is not None:
        try:
            await reserved.turn.at(index)
        except Refused as refused:
            tries.last = tries.last or refused
            return False
    plane.flights.refuse_ended(reserved.call_id)
    if breaker.open_until_us is not None and not breaker.admit(plane.health.rules.breaker, plane.health.now_us()):
        tries.shut.append(standing)
        return False
    return True


def _is_unreached(error: UpstreamError) -> bool:
    """Not where connecting took too long: to wait as long once more helps nobody."""
    return isinstance(error, UpstreamFailed) and not error.sent


async def forward_unless_left(
    plane: Plane, ask: ModelAsk, reserved: Reserved, left: Callable[[], Awaitable[object]]
) -> Sent:
    """As `forward_model`, for a stream: a client that leaves before the reply's headers come ends the attempt at once
    (rule 10). Raises ClientLeft then; what the upstream charges for it is not known."""
    leaving = asyncio.ensure_future(left())
    sending = asyncio.create_task(forward_model(plane, ask, reserved))
    taken = False
    try:
        await asyncio.wait((leaving, sending), return_when=asyncio.FIRST_COMPLETED)
        if leaving.done():
            raise ClientLeft
        taken = True
        return sending.result()
    finally:
        leaving.cancel()
        if not taken:
            await plane.background.shielded(_abandon(sending))


async def _abandon(sending: asyncio.Task[Sent]) -> None:
    sending.cancel()
    await asyncio.wait((sending,))
    if not sending.cancelled() and sending.exception() is None:
        await sending.result().reply.close()


async def _covered(plane: Plane, reserved: Reserved, deployment: Deployment) -> bool:
    """Whether the call is held on the limits of the provider that is to serve it, which is the one it is booked on."""
    held = reserved.hold.attribution
    if deployment.provider == held.provider:
        return True
    return await plane.limiter.move(reserved.hold, replace(held, provider=deployment.provider), plane.clock.now_us())


async def _attempt(
    plane: Plane, ask: ModelAsk, deployment: Deployment, wire: WireFormat, reserved: Reserved, standing: Standing
) -> UpstreamReply:
    """The deployment counts as loaded with the call from here to its end, be it that of an answer."""
    reserved.go_to(standing)
    try:
        return await _answered(plane, ask, deployment, wire, reserved, standing)
    except UpstreamError as error:
        # A credential that its issuer refuses says nothing against the deployment, as a 401 does not.
        if not (isinstance(error, TokenUnavailable) and error.refused):
            plane.health.failed(standing)
        reserved.come_back()
        raise
    except BaseException:
        reserved.come_back()
        raise


async def _answered(
    plane: Plane, ask: ModelAsk, deployment: Deployment, wire: WireFormat, reserved: Reserved, standing: Standing
) -> UpstreamReply:
    provider = plane.providers[deployment.provider]
    made = ask.outgoing(deployment, reserved.size.send_cap)
    native = wire is ask.format
    path = ask.path if native else wire.path_for(stream=ask.stream)
    if MODEL in path:
        path = path.replace(MODEL, quote(deployment.upstream_model, safe=""))
    if deployment.placed is not None and not isinstance(made, bytes):
        path, made = deployment.placed(quote(deployment.upstream_model, safe="@"), path, made)
    body = made if isinstance(made, bytes) else orjson.dumps(made)
    reply = await provider.send(path, body, plane.catalog.timeouts, ask.headers if native else ())
    if reserved.turn is not None:
        reserved.turn.heard(reply)
    if reply.status < 300:
        if standing.breaker.open_until_us is not None:
            plane.health.heard(standing, reply.status, reply.headers)
        return reply
    try:
        content = await reply.read()
    finally:
        await reply.close()
    plane.health.heard(standing, reply.status, reply.headers)
    text = provider.redact(content.decode("utf-8", "replace"))
    raise _said_no(reply, text, provider.name, wire)


def _said_no(reply: UpstreamReply, text: str, provider: str, wire: WireFormat) -> Refused | UpstreamSaidNo:
    status = reply.status
    if _out_of_money(status, text):
        message = (
            f"Provider '{provider}' refuses because its own account is out of money. An administrator must top it up."
        )
        return Refused(Denial(Code.UPSTREAM_QUOTA, message))
    if status in (401, 403) or (status == 400 and _KEY_REFUSED in text):
        message = f"Provider '{provider}' refused this gateway's credential. An administrator must check it."
        return Refused(Denial(Code.UPSTREAM_FAILED, message))
    if status < 400:
        message = f"Provider '{provider}' points elsewhere (status {status}). An administrator must check its address."
        return Refused(Denial(Code.UPSTREAM_INVALID, message))
    if status >= 500:
        return Refused(
            Denial(Code.UPSTREAM_FAILED, f"Provider '{provider}' failed with status {status}.", retry_after_s=1.0)
        )
    kind = reply.headers.get("content-type", "application/json")
    told = {name: reply.headers[name] for name in _OF_REFUSALS if name in reply.headers}
    return UpstreamSaidNo(status, text.encode(), kind, told, wire)


def _out_of_money(status: int, text: str) -> bool:
    if status == 402:
        return True
    if status not in (400, 403, 429):
        return False
    try:
        error: Any = orjson.loads(text).get("error")
    except (orjson.JSONDecodeError, AttributeError):
        return False
    if not isinstance(error, dict):
        return False
    details = error.get("details")
    said = details.get("error_code") if isinstance(details, dict) else None
    words = {word for word in (error.get("code"), error.get("type"), said) if isinstance(word, str)}
    return bool(words & _QUOTA_WORDS) or _QUOTA_SENTENCE in str(error.get("message"))


def upstream_denial(error: UpstreamError) -> Denial:
    """What a caller is told of an exchange that failed."""
    if isinstance(error, TokenUnavailable):
        return Denial(Code.UPSTREAM_FAILED, str(error), retry_after_s=None if error.refused else 1.0)
    if isinstance(error, UpstreamTimeout):
        return Denial(
            Code.UPSTREAM_TIMEOUT, f"The provider did not answer in time ({error.phase.value}).", retry_after_s=1.0
        )
    if isinstance(error, UpstreamFailed):
        return Denial(Code.UPSTREAM_FAILED, "The connection to the provider failed.", retry_after_s=1.0)
    return Denial(Code.UPSTREAM_INVALID, "The provider's answer was not valid.", retry_after_s=1.0)
