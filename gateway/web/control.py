"""What the admin API works with beside the data plane; built by wiring."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.limit import Limit
from gateway.management.alerts import AlertOffice
from gateway.management.keys import KeyDesk
from gateway.management.policies import Question
from gateway.management.requests import RequestDesk
from gateway.ports import Reports

PolicyCheck = Callable[[], Awaitable[list[dict[str, Any]]]]


@dataclass(frozen=True, slots=True)
class Control:
    """`reload` gives each fault of what is on disk (empty = in force). `policy_check` and `policy_test` look at what is
    on disk, too, `policy_explain` at what is in force. `key_limits` are those that keys bring along, by key id."""

    keys: KeyDesk
    reports: Reports
    requests: RequestDesk
    alerts: AlertOffice
    key_limits: Callable[[], Mapping[str, tuple[Limit, ...]]]
    reload: Callable[[], Awaitable[tuple[str, ...]]]
    policy_check: PolicyCheck
    policy_test: PolicyCheck
    policy_explain: Callable[[Question], Awaitable[dict[str, Any]]]
    status: Callable[[], dict[str, Any]]
