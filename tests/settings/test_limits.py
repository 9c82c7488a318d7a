"""What a limit may say, and what the program makes of it."""

from decimal import Decimal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.attribution import SELECTORS
from gateway.core.limit import Unit
from gateway.core.money import format_usd
from gateway.settings.limits import UNITS, WINDOWS, Limit
from tests.settings.samples import faults, hints, read


def limit(text: str) -> Limit:
    (only,) = read(f"limits: [{{name: l, {text}}}]").settings.limits
    return only


def limit_faults(text: str) -> list[str]:
    """Without their places, which other tests look at."""
    return [fault.partition(" ")[2].removeprefix("limits[0]") for fault in faults(f"limits: [{{name: l, {text}}}]")]


def test_rule_25_the_units_are_those_of_the_core() -> None:
    assert set(UNITS) == {unit.value for unit in Unit}


@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_is_an_integer_in_the_program(unit: str) -> None:
    window = "" if unit == "concurrent" else ", window: day"
    made = limit(f"{unit}: 2_000{window}")
    assert (made.unit, made.amount) == (unit, 2_000_000_000 if unit == "usd" else 2_000)


@given(st.integers(0, 10**15))
def test_money_reaches_the_program_exactly(micros: int) -> None:
    assert limit(f"usd: {format_usd(micros)}, window: day").amount == micros


@pytest.mark.parametrize("kind", [kind for kind in SELECTORS if kind not in ("org", "model", "model_tier", "provider")])
def test_every_selector_kind_can_be_fixed_and_counted_by(kind: str) -> None:
    assert limit(f"{kind}: x, tokens: 1, window: day").selectors == ((kind, "x"),)
    assert limit(f"each: {kind}, tokens: 1, window: day").each == kind


def test_labels_are_selectors_too() -> None:
    made = limit("label:kind: coding, label:tier: 1, each: label:project, tokens: 1, window: day")
    assert made.selectors == (("label:kind", "coding"), ("label:tier", "1"))
    assert made.each == "label:project"


@pytest.mark.parametrize("window", [*WINDOWS[:5], "total", "5h", "90m", "7d", "366d"])
def test_rule_26_windows(window: str) -> None:
    assert limit(f"tokens: 1, window: {window}").effective_window == window


def test_rule_26_a_limit_for_each_session_needs_no_window_and_calls_in_flight_have_none() -> None:
    assert limit("each: session, tokens: 1").effective_window == "session"
    assert limit("each: session, tokens: 1, window: day").effective_window == "day"
    assert limit("each: session, concurrent: 1").effective_window is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("window: day", [": needs exactly one unit, has none"]),
        ("tokens: 1, usd: 1, window: day", [": needs exactly one unit, has `tokens` and `usd`"]),
        ("tokens: 1", [".window: is missing"]),
        ("each: user, requests: 1", [".window: is missing"]),
        ("tokens: 1, window: dya", [".window: is not a window"]),
        ("tokens: 1, window: 5", [".window: is not a window"]),
        ("tokens: 1, window: 30s", [".window: is not a window"]),
        ("tokens: 1, window: 367d", [".window: is not a window"]),
        ("tokens: 1, window: session", [".window: goes with `each: session`"]),
        ("concurrent: 1, window: day", [".window: calls in flight have no window"]),
        ("sessions: 1, each: session", [".each: a session does not begin sessions"]),
        ("tokens: 1, each: usr, window: day", [".each: is nothing that limits select by"]),
        ("tokens: 1, each: 'label:', window: day", [".each: is nothing that limits select by"]),
        ("tokens: 1.5, window: day", [".tokens: must be a whole number"]),
        ("tokens: -1, window: day", [".tokens: must not be negative"]),
        ("requests: 0, window: day", [".requests: must be at least 1"]),
        ("concurrent: 0", [".concurrent: must be at least 1"]),
        ("tokens: 1, window: day, timezone: Europe/Nowhere", [".timezone: is not a time zone"]),
        ("tokens: 1, window: day, timezone: ../etc/passwd", [".timezone: is not a time zone"]),
        ("tokens: 1, window: 5h, timezone: Europe/Berlin", [".timezone: has no meaning without a calendar window"]),
        ("requests: 1, window: day, burst: 5", [".burst: goes with `requests` a minute or an hour only"]),
        ("tokens: 1, window: minute, burst: 5", [".burst: goes with `requests` a minute or an hour only"]),
        ("requests: 1, window: minute, burst: 0", [".burst: must be at least 1"]),
        ("tokens: 1, window: day, action: stop", [".action: is not a valid choice"]),
        ("tokens: 1, window: day, mode: dry", [".mode: the value `dry` is not possible here"]),
        ("tokens: 1, window: day, org: acme", [".org: the value `acme` is not possible here"]),
        ("tokens: 1, window: day, team: '*'", [".team: is not a name"]),
        ("tokens: 1, window: day, model: m", [".model: there is no model `m`"]),
        ("tokens: 1, window: day, model_tier: t", [".model_tier: there is no model with the tier `t`"]),
        ("tokens: 1, window: day, provider: p", [".provider: there is no provider `p`"]),
        (
            "tokens: 1, window: day, overrides: {alice: 1, 'usr:bob': 1, 'user:': 1, 'user:eve': 1.5, 'label:a:b': 2}",
            [
                ".overrides.alice: is not a subject",
                ".overrides.usr:bob: is nothing that limits select by",
                ".overrides.user:: is not a subject",
                ".overrides.user:eve: must be a whole number",
            ],
        ),
        ("requests: 5, window: day, overrides: {'user:a': 0}", [".overrides.user:a: must be at least 1"]),
        ("tokens: 1, window: day, action: {route_to: m}", [".action.route_to: there is no model `m`"]),
        ("tokens: 1, window: day, action: route_to", [".action: needs a model"]),
        ("tokens: 1, window: day, action: {go_to: m}", [".action: is no action"]),
        ("tokens: 1, window: day, alert_at: 50", [".alert_at: must be a list"]),
        ("tokens: 1, window: day, alert_at: [0]", [".alert_at[0]: must be at least 1"]),
        ("concurrent: 1, alert_at: [50]", [".alert_at: goes with sums only: nothing is posted on a rate"]),
        ("requests: 9, window: hour, alert_at: [50]", [".alert_at: goes with sums only: nothing is posted on a rate"]),
        ("tokens: 9, window: day, reserved: {'app:a': 30}", [".reserved.app:a: is no share"]),
        ("tokens: 9, window: day, reserved: {'app:a': 0%}", [".reserved.app:a: a share is above 0% and at most 100%"]),
        (
            "tokens: 9, window: day, reserved: {'app:a': 101%}",
            [".reserved.app:a: a share is above 0% and at most 100%"],
        ),
        (
            "tokens: 9, window: day, reserved: {'app:a': 60%, 'app:b': 40.01%}",
            [".reserved: is more than the whole limit"],
        ),
        (
            "tokens: 9, window: day, reserved: {'model:m': 1%, checkout: 1%}",
            [".reserved.model:m: is nobody to reserve for", ".reserved.checkout: is nobody to reserve for"],
        ),
        ("requests: 9, window: day, reserved: {'app:a': 1%}", [".reserved: goes with tokens and money only"]),
        (
            "each: session, tokens: 9, reserved: {'app:a': 1%}",
            [".reserved: nobody shares a counter that is kept for each session"],
        ),
        (
            "each: app, tokens: 9, window: day, reserved: {'app:a': 1%}",
            [".reserved.app:a: every call on this counter has the same app"],
        ),
        (
            "app: b, tokens: 9, window: day, reserved: {'app:a': 1%}",
            [".reserved.app:a: every call on this counter has the same app"],
        ),
    ],
)
def test_what_a_limit_cannot_say(text: str, expected: list[str]) -> None:
    assert limit_faults(text) == expected


@pytest.mark.parametrize(
    ("written", "said"),
    [("warn", "warn"), ("throttle", "throttle"), ("{route_to: m}", "route_to:m"), ("pause", "pause")],
)
def test_rule_28_actions(written: str, said: str) -> None:
    text = f"limits: [{{name: l, tokens: 1, window: day, action: {written}}}]\n"
    (only,) = read(f"{text}providers: {{s: {{kind: simulated}}}}\nmodels: {{m: {{provider: s}}}}").settings.limits
    assert only.action == said


def test_shares_are_hundredths_of_a_per_cent_and_marks_are_whole() -> None:
    made = limit("usd: 9, window: month, reserved: {'app:a': 30%, 'environment:live': 12.5 %}, alert_at: [80, 50]")
    assert dict(made.reserved) == {"app:a": 3_000, "environment:live": 1_250}
    assert made.alert_at == (80, 50)


def test_overrides_are_in_the_unit_of_the_limit() -> None:
    assert limit("usd: 1, window: day, overrides: {'user:a': 0.1, 'label:x:y': 2}").override_amounts == (
        ("user:a", 100_000),
        ("label:x:y", 2_000_000),
    )
    assert limit("tokens: 1, window: day, overrides: {'role:r': 5_000}").overrides == {"role:r": Decimal(5000)}


def test_a_kind_that_was_misspelt_is_suggested() -> None:
    assert hints("limits: [{name: l, tokens: 1, window: day, each: end-user}]") == ["did you mean `end_user`?"]


def test_the_limits_of_a_key_have_the_same_units_and_windows() -> None:
    (key,) = read(
        "keys: [{name: k, secret: '${REVIEWER_KEY}', limits: [{usd: 0.5, window: 5h}, {concurrent: 2}]}]"
    ).settings.keys
    assert [(made.unit, made.amount, made.window) for made in key.limits] == [
        ("usd", 500_000, "5h"),
        ("concurrent", 2, None),
    ]


def test_a_limit_written_out_as_yaml_reads_back_the_same() -> None:
    made = limit("each: user, usd: 0.25, window: month, timezone: Europe/Berlin, mode: observe")
    written = made.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    written["usd"] = float(written["usd"])
    assert read(yaml.safe_dump({"limits": [written]})).settings.limits == (made,)
