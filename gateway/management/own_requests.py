"""`quota_request`: what an agent asks for, and what it is told about its requests."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.core.call import Caller
from gateway.core.denial import Code, Denial, Refused, amount_shown, time_shown
from gateway.core.quota_request import QuotaRequest, RequestState
from gateway.management.approver import BY_ASKER, CALLER
from gateway.management.asking import Wish
from gateway.management.raises import asker_object
from gateway.management.refused import ManagementRefused, Unknown
from gateway.management.requests import RequestDesk
from gateway.pipeline.reserve import books_unavailable
from gateway.ports import BooksUnavailable

_WISH: Final = ("limit", "call", "amount", "reason", "until", "scope")
_BECAME: Final[Mapping[RequestState, str]] = {
    RequestState.PENDING: "waits for a person to decide; go on with what is left, and ask again with its id",
    RequestState.DENIED: "was denied; asking again unchanged does not help",
    RequestState.WITHDRAWN: "was withdrawn",
    RequestState.LAPSED: "was not decided in time",
    RequestState.EXPIRED: "was approved, and that time is over",
    RequestState.REVOKED: "was approved, and taken back since",
}


async def quota_request(
    desk: RequestDesk, caller: Caller, headers: Mapping[str, str], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Raises Refused."""
    try:
        found = await _asked(desk, caller, headers, {n: v for n, v in arguments.items() if v is not None})
    except Unknown as error:
        raise Refused(Denial(Code.ROUTE_UNKNOWN, _sentence(error))) from error
    except ManagementRefused as error:
        raise Refused(Denial(Code.REQUEST_MALFORMED, _sentence(error))) from error
    except BooksUnavailable as error:
        raise Refused(books_unavailable()) from error
    return {"summary": told(found), "requests": [asker_object(request) for request in found]}


def told(requests: Sequence[QuotaRequest]) -> str:
    """All of it in a few sentences."""
    if not requests:
        return "This key has asked for nothing lately."
    return " ".join(_told(request) for request in requests)


async def _asked(
    desk: RequestDesk, caller: Caller, headers: Mapping[str, str], arguments: Mapping[str, Any]
) -> list[QuotaRequest]:
    wished = [name for name in _WISH if name in arguments]
    request_id = arguments.get("request")
    if request_id is None:
        if arguments.get("withdraw"):
            raise ManagementRefused("name the request that is to be withdrawn")
        if not wished:
            await desk.sweep()
            return desk.own(caller)
        missing = [name for name in ("amount", "reason") if name not in arguments]
        if missing:
            raise ManagementRefused(f"`{missing[0]}` is missing")
        named = {name: arguments[name] for name in (*_WISH, "session") if name in arguments}
        return [await desk.ask(caller, headers, Wish(**named), CALLER)]
    if wished:
        raise ManagementRefused("a request is never changed: withdraw it and ask anew")
    found = await desk.one_of(caller, request_id)
    return [await desk.withdraw(found.id, BY_ASKER) if arguments.get("withdraw") else found]


def _told(request: QuotaRequest) -> str:
    shown = f"{amount_shown(request.unit, request.amount)} {_unit(request)} more of '{request.limit}' ({request.scope})"
    if request.state is RequestState.APPROVED:
        given = f"{amount_shown(request.unit, request.granted)} {_unit(request)}"
        became = f"was approved: {given} more until {time_shown(request.ends_us)}"
    else:
        became = _BECAME[request.state]
    note = f" ({request.note})" if request.note else ""
    return f"Request {request.id} for {shown} {became}{note}."


def _unit(request: QuotaRequest) -> str:
    return "USD" if request.unit == "usd" else request.unit.replace("_", " ")


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
