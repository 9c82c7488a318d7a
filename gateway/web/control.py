"""What the admin API works with beside the data plane; built by wiring."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from gateway.management.keys import KeyDesk
from gateway.ports import Reports

PolicyCheck = Callable[[], Awaitable[list[dict[str, Any]]]]


@dataclass(frozen=True, slots=True)
class Control:
    """`reload` gives each fault of what is on disk (empty = in force); `policy_*` look at what is on disk, too."""

    keys: KeyDesk
    reports: Reports
    reload: Callable[[], Awaitable[tuple[str, ...]]]
    policy_check: PolicyCheck
    policy_test: PolicyCheck
    policy_explain: Callable[["Question"], Awaitable[dict[str, Any]]]
    status: Callable[[], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Question:
    """Who asks for what: `subjects` as `kind:name`."""

    subjects: tuple[str, ...]
    model: str
    tool: str
    action: str
    arguments: dict[str, Any] | None = None
