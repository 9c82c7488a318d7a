"""What providers can take, and how it is shared out."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from gateway.core.attribution import SELECTORS
from gateway.settings.fields import Count, Keyed, Named, Seconds, setting
from gateway.settings.findings import Fault, Flaw, suggestion
from gateway.settings.section import Section

SHARES_MAX = 100
_NOT_TO_SHARE_BY = frozenset({"org", "session", "provider", "tool"})
_KINDS = tuple(kind for kind in SELECTORS if kind not in _NOT_TO_SHARE_BY)
_LABEL = re.compile(r"label:[^\s,*:]{1,64}:\S{1,128}")


def _selector(text: str) -> str:
    kind, _, value = text.partition(":")
    if _LABEL.fullmatch(text) or (kind in _KINDS and value.strip() == value != ""):
        return text
    hint = suggestion(kind, _KINDS, otherwise="write it like `team:platform`; kinds are")
    raise Fault("is nothing to share capacity by", hint)


AtLeastOne = Annotated[Count, Field(ge=1, le=1_000_000_000)]
Weight = Annotated[Count, Field(ge=1, le=1_000_000)]
Selector = Annotated[str, AfterValidator(_selector)]


class ProviderCapacity(Section):
    concurrent: AtLeastOne | None = setting(None, "Calls in flight at the same time; none: not bounded.")
    requests_per_minute: AtLeastOne | None = setting(None, "Requests a minute; none: not bounded.")
    tokens_per_minute: AtLeastOne | None = setting(None, "Input and output tokens a minute; none: not bounded.")
    shares: Keyed[Selector, Weight] = setting(
        {}, "Weights by selector, such as `team:platform: 3`. A call belongs to the first that selects it."
    )
    default_share: Weight = setting(1, "Weight that all calls have together which no share selects.")
    queue: AtLeastOne = setting(1000, "Calls that may wait; each share has its part of the line by its weight.")
    wait_s: Seconds = setting(
        "10s", "Longest wait for a turn. Who would have to wait longer is refused at once.", alias="wait"
    )

    @model_validator(mode="after")
    def _sound(self) -> "ProviderCapacity":
        if len(self.shares) > SHARES_MAX:
            raise Fault.of([Flaw(f"has more than {SHARES_MAX} shares", "share by a wider selector", ("shares",))])
        return self

    @property
    def named_shares(self) -> tuple[tuple[str, str, int], ...]:
        """(kind, value, weight), in the order of the file; labels as `label:x`."""
        return tuple((*_parts(text), weight) for text, weight in self.shares.items())


class Capacity(Section):
    providers: Named[ProviderCapacity] = setting(
        {}, "By name of the provider. Providers that are not named: no bounds."
    )


def _parts(text: str) -> tuple[str, str]:
    kind, _, value = text.partition(":")
    if kind == "label":
        name, _, value = value.partition(":")
        kind = f"label:{name}"
    return kind, value
