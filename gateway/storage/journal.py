"""What an entry looks like as a row of the journal: (kind, subject, document).

Rule: nothing personal, no prompt, no argument, no digest of a key; pseudonyms and figures only (rule 12).
"""

from typing import Final

import orjson

from gateway.core.identity import VirtualKey
from gateway.core.ledger import (
    AdminChanged,
    CallDenied,
    CallSettled,
    CallVoided,
    HoldPlaced,
    HoldRaised,
    KeySaved,
    Refusals,
    SessionChanged,
    StopChanged,
)
from gateway.core.outbox import AlertRaised
from gateway.core.session import Part, SessionState
from gateway.storage.pseudonyms import NameRow, Pseudonyms, Recorded

HELD = "held"
RAISED = "raised"
SETTLED = "settled"
VOIDED = "voided"
DENIED = "denied"
REFUSALS = "refusals"
SESSION = "session"
STOP = "stop"
ADMIN = "admin"
KEY = "key"
REQUEST = "request"
SEGMENT = "segment"

_STOP_ACTIONS: Final = {
    SessionState.PAUSED: "paused",
    SessionState.STOPPED: "stopped",
    SessionState.OPEN: "resumed",
}
_PERSONAL_FIELDS = ("user", "team", "app", "service", "agent")


def text(doc: object) -> str:
    """JSON as it is stored and hashed. Raises TypeError for what JSON cannot hold (lone surrogates, huge integers)."""
    return orjson.dumps(doc).decode()


def held(entry: HoldPlaced, recorded: Recorded, pseudonyms: Pseudonyms, names: dict[str, NameRow]) -> str:
    rule, limits, warnings, would_deny = pseudonyms.hide_held(
        (entry.rule, entry.limits, entry.warnings, entry.would_deny), entry.attribution, recorded, names
    )
    return text(
        {
            "session": entry.session_id,
            "attribution": recorded.id,
            "kind": entry.kind,
            "held": entry.held,
            "prompt_tokens": entry.prompt_tokens,
            "prompt_usd_micros": entry.prompt_usd_micros,
            "usual_output_tokens": entry.usual_output_tokens,
            "stream": entry.stream,
            "sliced": entry.sliced,
            "model": entry.upstream_model,
            "policy": entry.policy_version,
            "rule": rule,
            "request": entry.request_digest,
            "limits": limits,
            "warnings": warnings,
            **({"would_deny": would_deny} if would_deny else {}),
            **({"routed_from": entry.routed_from} if entry.routed_from else {}),
        }
    )


def raised(entry: HoldRaised) -> str:
    return text({"held": entry.held})


def settled(entry: CallSettled, attribution_id: str, pseudonyms: Pseudonyms, names: dict[str, NameRow]) -> str:
    return text(
        {
            "attribution": attribution_id,
            "outcome": entry.outcome,
            "estimated": entry.estimated,
            "usage": entry.usage,
            "posted": entry.posted,
            "meters": entry.meters,
            "overrun": entry.overrun,
            "price": entry.price_source,
            "status": entry.status,
            "ours_us": entry.ours_us,
            "upstream_us": entry.upstream_us,
            "first_byte_us": entry.first_byte_us,
            **({} if entry.denial is None else {"denial": pseudonyms.hide(entry.denial, entry.attribution, names)}),
        }
    )


def voided(entry: CallVoided) -> str:
    return text({"reason": entry.reason, "status": entry.status})


def denied(entry: CallDenied, recorded: Recorded, pseudonyms: Pseudonyms, names: dict[str, NameRow]) -> str:
    return text(
        {
            "session": entry.session_id,
            "attribution": recorded.id,
            "kind": entry.kind,
            "code": entry.code,
            "denial": pseudonyms.hide(entry.denial, entry.attribution, names),
            "policy": entry.policy_version,
            "count": entry.count,
        }
    )


def refusals(entry: Refusals) -> str:
    return text({"reason": entry.reason, "source": entry.source, "count": entry.count})


def session(entry: SessionChanged, recorded: Recorded | None, pseudonyms: Pseudonyms, names: dict[str, NameRow]) -> str:
    changed = entry.session
    return text(
        {
            "action": entry.action,
            "actor": pseudonyms.hide(entry.actor, None, names),
            "state": changed.state,
            "reason": pseudonyms.hide(changed.reason, entry.attribution, names),
            "key": changed.key_id,
            "mark": changed.mark.kind,
            "client": pseudonyms.client(changed.mark.client_id),
            "attribution": None if recorded is None else recorded.id,
            "ancestors": changed.ancestors,
            "parts": parts(changed.parts),
        }
    )


def parts(of_child: tuple[Part, ...]) -> list[tuple[str, int]]:
    """A child's parts as JSON can hold them."""
    return [(part.unit.value, part.amount) for part in of_child]


def stop(entry: StopChanged, pseudonyms: Pseudonyms, names: dict[str, NameRow]) -> tuple[str, str]:
    """(what stands for the name, document)"""
    changed = entry.stop
    name = changed.name
    if changed.kind in _PERSONAL_FIELDS:
        name = pseudonyms.hide({changed.kind: name}, None, names)[changed.kind]
    doc = {
        "action": _STOP_ACTIONS[changed.state],
        "actor": pseudonyms.hide(entry.actor, None, names),
        "state": changed.state,
        "reason": pseudonyms.hide(changed.reason, None, names),
        changed.kind: name,
    }
    return name, text(doc)


def admin(entry: AdminChanged, pseudonyms: Pseudonyms, names: dict[str, NameRow]) -> tuple[str, str]:
    """(subject, document)"""
    subject = pseudonyms.hide(entry.subject, None, names)
    detail = pseudonyms.hide(entry.detail, None, names)
    return subject, text({"action": entry.action, "actor": pseudonyms.hide(entry.actor, None, names), "detail": detail})


def key(entry: KeySaved, pseudonyms: Pseudonyms, names: dict[str, NameRow]) -> str:
    saved = entry.key
    names[saved.id] = (saved.id, "key", saved.name)
    owners = {field: getattr(saved, field) for field in _PERSONAL_FIELDS}
    return text(
        {
            "action": entry.action,
            "actor": pseudonyms.hide(entry.actor, None, names),
            "state": saved.state,
            **pseudonyms.hide(owners, None, names),
            "models": saved.models,
            "tools": saved.tools,
            "limits": saved.limits,
            "expires_at_us": saved.expires_at_us,
            "may_assert_user": saved.may_assert_user,
            "origin": saved.origin,
        }
    )


def key_document(saved: VirtualKey) -> str:
    """The row of the keys table, names included, digest excluded."""
    fields = {
        "name": saved.name,
        **{field: getattr(saved, field) for field in _PERSONAL_FIELDS},
        "models": saved.models,
        "tools": saved.tools,
        "limits": [[limit.unit, limit.amount, limit.window] for limit in saved.limits],
        "expires_at_us": saved.expires_at_us,
        "state": saved.state,
        "may_assert_user": saved.may_assert_user,
        "origin": saved.origin,
        "created_at_us": saved.created_at_us,
    }
    return text(fields)


def alert(entry: AlertRaised, pseudonyms: Pseudonyms, names: dict[str, NameRow]) -> str:
    """The document of an outbox row, which is no row of the journal but holds no names either."""
    said = entry.alert
    shown = {"subject": said.subject, "text": said.text, "facts": dict(said.facts), "dedupe": entry.dedupe}
    return text(pseudonyms.hide(shown, said.attribution, names))
