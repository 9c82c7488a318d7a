"""Limits: what is counted, for whom, over which time, and what happens at the end of it."""

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from gateway.core.attribution import SELECTORS
from gateway.core.reserved import WHOLE
from gateway.core.window import WindowInvalid
from gateway.core.window import parse as parse_window
from gateway.settings.actions import ROUTE_TO, action_of, action_parts
from gateway.settings.fields import Count, Items, Name, Number, Percent, Table, TimeZone, UsdMicros, setting
from gateway.settings.findings import Fault, Flaw, suggestion
from gateway.settings.quantities import COUNT_MAX, parse_usd_micros
from gateway.settings.section import Section

UNITS = (
    *("tokens", "uncached_tokens", "input_tokens", "output_tokens", "usd", "requests", "tool_calls", "concurrent"),
    "sessions",
)
ACTIONS = ("block", "warn", "throttle", "pause")
MARK_MAX = 1_000
RESERVED_FOR = ("app", "service", "agent", "environment", "team", "user")
WINDOWS = ("minute", "hour", "day", "week", "month", "session", "total")
_CALENDAR = frozenset({"minute", "hour", "day", "week", "month"})
_METERED = frozenset({"tokens", "uncached_tokens", "input_tokens", "output_tokens", "usd"})
_AT_LEAST_ONE = frozenset({"requests", "concurrent", "sessions"})
_LABEL = re.compile(r"label:[^\s,*:]{1,64}")


def _window(text: str) -> str:
    try:
        return parse_window(text).text
    except WindowInvalid:
        hint = suggestion(text, WINDOWS, otherwise="one of minutes, hours or days such as `90m`, `5h`, `7d`, or")
        raise Fault("is not a window", hint) from None


def _selector_kind(text: str) -> str:
    if text in SELECTORS or _LABEL.fullmatch(text):
        return text
    hint = suggestion(text, (*SELECTORS, "label:<name>"), otherwise="a counter can be kept for each")
    raise Fault("is nothing that limits select by", hint)


def _subject(text: str) -> str:
    kind, _, value = text.partition(":")
    if kind == "label":
        name, _, value = value.partition(":")
        kind = f"label:{name}"
    if not value:
        raise Fault("is not a subject", 'write it like `"user:alice"`')
    _selector_kind(kind)
    return text


Window = Annotated[
    str,
    AfterValidator(_window),
    WithJsonSchema({"type": "string", "pattern": f"^({'|'.join(WINDOWS)}|[1-9][0-9]*[mhd])$", "format": "window"}),
]


class Amount(Section):
    """Exactly one unit, over a window."""

    tokens: Count | None = setting(None, "Input and output tokens, cached input included.")
    uncached_tokens: Count | None = setting(None, "Tokens without those read from a cache.")
    input_tokens: Count | None = setting(None, "Input tokens, cached input included.")
    output_tokens: Count | None = setting(None, "Output tokens, reasoning included.")
    usd_micros: UsdMicros | None = setting(None, "Money in USD, at most 6 decimals.", alias="usd")
    requests: Count | None = setting(None, "Calls of clients; retries inside the gateway are not counted.")
    tool_calls: Count | None = setting(None, "MCP tool calls.")
    concurrent: Count | None = setting(None, "Calls in flight at the same time. Has no window.")
    sessions: Count | None = setting(None, "Sessions that begin.")
    window: Window | None = setting(
        None,
        "`minute` `hour` `day` `week` `month`, rolling such as `5h`, `session`, or `total`. "
        "Required, except for `each: session` and `concurrent`.",
    )
    timezone: TimeZone | None = setting(None, "Where days, weeks and months begin; none: UTC.")
    burst: Annotated[Count, Field(ge=1)] | None = setting(
        None, "Requests a minute or an hour: how many may come at once; none: a tenth of the limit."
    )

    @model_validator(mode="after")
    def _one_amount(self) -> "Amount":
        given = self._units_given()
        if len(given) != 1:
            said = " and ".join(f"`{unit}`" for unit in given) or "none"
            raise Fault(f"needs exactly one unit, has {said}", f"units: {', '.join(UNITS)}")
        flaws = list(self._flaws())
        if flaws:
            raise Fault.of(flaws)
        return self

    def _units_given(self) -> list[str]:
        return [unit for unit in UNITS if getattr(self, "usd_micros" if unit == "usd" else unit) is not None]

    def _flaws(self) -> Iterable[Flaw]:
        unit, window = self.unit, self.window
        if unit in _AT_LEAST_ONE and self.amount < 1:
            yield Flaw("must be at least 1", "to allow nothing at all, use a policy row", (unit,))
        if unit == "concurrent" and window is not None:
            yield Flaw("calls in flight have no window", "remove it", ("window",))
        if self.timezone is not None and window not in _CALENDAR:
            yield Flaw("has no meaning without a calendar window", "remove it", ("timezone",))
        if self.burst is not None and not (unit == "requests" and window in ("minute", "hour")):
            yield Flaw("goes with `requests` a minute or an hour only", "remove it", ("burst",))

    @property
    def unit(self) -> str:
        """One of UNITS."""
        return self._units_given()[0]

    @property
    def amount(self) -> int:
        """In the unit's integer: tokens, calls, or micro-USD."""
        value: int = getattr(self, "usd_micros" if self.unit == "usd" else self.unit)
        return value


class KeyLimit(Amount):
    """A limit of one key."""

    def _flaws(self) -> Iterable[Flaw]:
        yield from super()._flaws()
        if self.window is None and self.unit != "concurrent":
            yield Flaw("is missing", f"one of {', '.join(WINDOWS)}, or such as `5h`", ("window",))


class Limit(Amount):
    name: Name = setting(..., "Unique name; denials and the books call it by this.")
    each: Annotated[str, AfterValidator(_selector_kind)] | None = setting(
        None, "One counter for each value of a selector kind, such as `user` or `label:project`; none: one for all."
    )
    org: Literal["org"] | None = setting(None, "Binds every call; the organization is called `org`.")
    team: Name | None = setting(None, "Binds calls of this team.")
    user: Name | None = setting(None, "Binds calls of this user.")
    end_user: Name | None = setting(None, "Binds calls for this end user.")
    app: Name | None = setting(None, "Binds calls of this app.")
    service: Name | None = setting(None, "Binds calls of this service.")
    agent: Name | None = setting(None, "Binds calls of this agent.")
    key: Name | None = setting(None, "Binds calls with this key.")
    session: Name | None = setting(None, "Binds calls of this session.")
    model: Name | None = setting(None, "Binds calls of this model.")
    model_tier: Name | None = setting(None, "Binds calls of models of this tier.")
    provider: Name | None = setting(None, "Binds calls to this provider.")
    tool: Name | None = setting(None, "Binds calls of this tool.")
    role: Name | None = setting(None, "Binds calls of principals with this role.")
    environment: Name | None = setting(None, "Binds calls from this environment.")
    cost_center: Name | None = setting(None, "Binds calls on this cost centre.")
    labels: Table[Name] = setting(
        {}, "Binds calls with this label. Written `label:<name>: value`.", alias="label:<name>"
    )
    overrides: Table[Number] = setting(
        {}, 'Other amounts for some, up or down: `{"user:alice": 5000000}`. The most specific wins.'
    )
    action: Annotated[str, *action_of(ACTIONS)] = setting(
        "block",
        "`block` refuses, `warn` lets pass and says it in a header, `throttle` slows down, `{route_to: <model>}` goes "
        "on with another model, `pause` refuses and pauses the session.",
    )
    reserved: Table[Percent] = setting(
        {}, 'Parts that are kept for some, on tokens and money: `{"app:checkout": 30%}`. Lent at the end of a window.'
    )
    alert_at: Items[Annotated[Count, Field(ge=1, le=MARK_MAX)]] = setting(
        (), "Per cent of the limit at which an alert goes out, once a window: `[50, 80, 100]`."
    )
    mode: Literal["enforce", "observe"] = setting("enforce", "`observe` judges and records, but refuses nothing.")

    @model_validator(mode="before")
    @classmethod
    def _gather_labels(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        labels = {key: value for key, value in data.items() if isinstance(key, str) and _LABEL.fullmatch(key)}
        rest = {key: value for key, value in data.items() if key not in labels}
        return {**rest, "label:<name>": labels} if labels else rest

    def _flaws(self) -> Iterable[Flaw]:
        yield from super()._flaws()
        if self.window is None and self.each != "session" and self.unit != "concurrent":
            yield Flaw("is missing", f"one of {', '.join(WINDOWS)}, or such as `5h`", ("window",))
        if self.window == "session" and self.each != "session":
            yield Flaw("goes with `each: session`", "add `each: session`, or choose another window", ("window",))
        if self.unit == "sessions" and self.each == "session":
            yield Flaw("a session does not begin sessions", "count them `each: agent` or `each: user`", ("each",))
        for subject in self.overrides:
            yield from self._override_flaws(subject)
        yield from self._reserved_flaws()
        yield from self._action_flaws()

    def _override_flaws(self, subject: str) -> Iterable[Flaw]:
        at = ("overrides", subject)
        try:
            _subject(subject)
            amount = self._in_unit(self.overrides[subject])
        except Fault as fault:
            yield Flaw(fault.flaws[0].message, fault.flaws[0].hint, at)
        else:
            if amount < 1 and self.unit in _AT_LEAST_ONE:
                yield Flaw("must be at least 1", "to allow nothing at all, use a policy row", at)

    def _reserved_flaws(self) -> Iterable[Flaw]:
        if not self.reserved:
            return
        if self.unit not in _METERED:
            yield Flaw("goes with tokens and money only", "remove it", ("reserved",))
        if self.each in ("session", "key", "end_user"):
            yield Flaw(f"nobody shares a counter that is kept for each {self.each}", "remove it", ("reserved",))
        if sum(self.reserved.values()) > WHOLE:
            yield Flaw("is more than the whole limit", "the shares sum up to at most 100%", ("reserved",))
        fixed = {kind for kind, _ in self.selectors}
        for subject in self.reserved:
            at, (kind, _, value) = ("reserved", subject), subject.partition(":")
            if kind not in RESERVED_FOR or not value:
                hint = f'write it like `"app:checkout"`; kinds: {", ".join(RESERVED_FOR)}'
                yield Flaw("is nobody to reserve for", hint, at)
            elif kind == self.each or kind in fixed:
                yield Flaw(f"every call on this counter has the same {kind}", "choose another kind", at)

    def _action_flaws(self) -> Iterable[Flaw]:
        word, model = action_parts(self.action)
        if word == ROUTE_TO and self.unit == "tool_calls":
            yield Flaw("a tool call has no model to go on with", "write `block`", ("action",))
        if word == ROUTE_TO and model == self.model:
            yield Flaw("leads to the model that it limits", "name another model", ("action",))
        if self.alert_at and (self.unit == "concurrent" or self._is_rate):
            yield Flaw("goes with sums only: nothing is posted on a rate", "remove it", ("alert_at",))

    @property
    def _is_rate(self) -> bool:
        return self.unit == "requests" and self.window in ("minute", "hour")

    def _in_unit(self, number: Decimal) -> int:
        if self.unit == "usd":
            return parse_usd_micros(str(number))
        if number != int(number) or number > COUNT_MAX:
            raise Fault("must be a whole number")
        return int(number)

    @property
    def effective_window(self) -> str | None:
        """The window, `session` where `each: session` names none; None for calls in flight."""
        if self.unit == "concurrent":
            return None
        return self.window or "session"

    @property
    def selectors(self) -> tuple[tuple[str, str], ...]:
        """(kind, value) of every fixed selector; labels as `label:x`."""
        fixed = [(kind, getattr(self, kind)) for kind in SELECTORS]
        return (*((kind, value) for kind, value in fixed if value is not None), *self.labels.items())

    @property
    def override_amounts(self) -> tuple[tuple[str, int], ...]:
        """(subject, amount in the unit's integer), in the order of the file."""
        return tuple((subject, self._in_unit(number)) for subject, number in self.overrides.items())
