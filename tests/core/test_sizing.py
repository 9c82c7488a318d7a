"""How much output is held and which cap goes out: never more than the room, never less than useful."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.sizing import AMPLE_DIVISOR, Draw, OutputAsk, Room, amount_asked, least_tokens, size_output

PLAIN = OutputAsk(
    prompt_tokens=100,
    prompt_usd_micros=200,
    output_pico_usd=10_000_000,
    cap_tokens=4_000,
    client_max_tokens=None,
    cap_known_upstream=False,
    choices=1,
    usual_tokens=0,
    sliceable=False,
    min_useful_tokens=256,
    slice_min_tokens=2_048,
)
STREAM = PLAIN._replace(sliceable=True)

amounts = st.integers(0, 50_000)


@st.composite
def asks(draw: st.DrawFn) -> OutputAsk:
    cap = draw(st.integers(0, 40_000))
    # As the reserve station makes them: the cap is the client's maximum, or the model's where that is smaller.
    client = draw(st.none() | (st.just(0) | st.integers(0, 5_000)).map(lambda more: cap + more)) if cap else 0
    choices = draw(st.just(1) | st.integers(1, 5))
    return OutputAsk(
        prompt_tokens=draw(amounts),
        prompt_usd_micros=draw(st.just(0) | amounts),
        output_pico_usd=draw(st.just(0) | st.integers(1, 80_000_000)),
        cap_tokens=cap,
        client_max_tokens=client,
        cap_known_upstream=draw(st.booleans()),
        choices=choices,
        usual_tokens=draw(amounts),
        sliceable=draw(st.booleans()) if cap and choices == 1 else False,
        min_useful_tokens=draw(st.integers(1, 5_000)),
        slice_min_tokens=draw(st.integers(1, 5_000)),
    )


rooms_of_all_kinds = st.lists(
    st.builds(Room, st.sampled_from(list(Draw)), st.integers(-10_000, 2_000_000)), max_size=5
).map(tuple)


@given(ask=asks(), rooms=rooms_of_all_kinds)
@example(ask=PLAIN._replace(output_pico_usd=0, prompt_usd_micros=0), rooms=(Room(Draw.MONEY, -5),))
@example(ask=PLAIN._replace(cap_tokens=0, client_max_tokens=0), rooms=(Room(Draw.OUTPUT, -5),))
def test_rule_4_the_hold_never_passes_a_room_and_is_refused_only_when_useless(
    ask: OutputAsk, rooms: tuple[Room, ...]
) -> None:
    size = size_output(ask, rooms)
    least_fits = all(
        not (asked := amount_asked(room.draw, ask, least_tokens(ask))) or asked <= room.left for room in rooms
    )
    assert (size is not None) == least_fits
    if size is None:
        return
    for room in rooms:
        asked = amount_asked(room.draw, ask, size.output_tokens)
        assert not asked or asked <= room.left
    assert least_tokens(ask) <= size.ceiling_tokens <= ask.cap_tokens * ask.choices
    assert size.output_tokens <= size.ceiling_tokens
    assert size.output_tokens % ask.choices == 0 or ask.sliceable


spare = st.dictionaries(st.sampled_from(list(Draw)), st.just(0) | st.integers(0, 100_000))


@given(ask=asks(), spare=spare)
def test_rule_1_what_is_not_sliced_holds_all_that_the_upstream_may_produce(
    ask: OutputAsk, spare: dict[Draw, int]
) -> None:
    least = least_tokens(ask)
    rooms = tuple(Room(draw, amount_asked(draw, ask, least) + more) for draw, more in spare.items())
    size = size_output(ask, rooms)
    assert size is not None
    sent = size.send_cap if size.send_cap is not None else ask.client_max_tokens
    if sent is not None and any(amount_asked(draw, ask, ask.cap_tokens * ask.choices) for draw in spare):
        assert sent * ask.choices <= size.ceiling_tokens
        assert size.slice_tokens or sent * ask.choices <= size.output_tokens
    if size.slice_tokens:
        assert ask.sliceable
    else:
        assert size.output_tokens == size.ceiling_tokens


@given(ask=asks(), spare=spare)
def test_rule_4_a_client_maximum_that_fits_is_never_touched(ask: OutputAsk, spare: dict[Draw, int]) -> None:
    ask = ask._replace(client_max_tokens=ask.cap_tokens)
    full = ask.cap_tokens * ask.choices
    rooms = tuple(Room(draw, amount_asked(draw, ask, full) + more) for draw, more in spare.items())
    size = size_output(ask, rooms)
    assert size is not None
    assert size.send_cap is None
    assert size.ceiling_tokens == full


@given(ask=asks(), spare=spare)
def test_rule_4_ample_room_holds_the_whole_cap(ask: OutputAsk, spare: dict[Draw, int]) -> None:
    full = ask.cap_tokens * ask.choices
    rooms = tuple(Room(draw, AMPLE_DIVISOR * amount_asked(draw, ask, full) + more) for draw, more in spare.items())
    size = size_output(ask, rooms)
    assert size is not None
    assert (size.output_tokens, size.slice_tokens) == (full, 0)


@pytest.mark.parametrize(
    ("ask", "left", "expected"),
    [
        (PLAIN, 4 * 4_100, (4_000, 4_000, 0)),  # just ample: the full hold is a quarter
        (PLAIN, 4 * 4_100 - 1, (4_000, 4_000, 0)),  # a quarter of the room is more than the cap still
        (PLAIN, 8_100, (2_000, 2_000, 0)),  # a quarter of the room
        (PLAIN._replace(usual_tokens=700), 8_100, (2_800, 2_800, 0)),  # four times the usual
        (PLAIN._replace(usual_tokens=5_000), 3_100, (3_000, 3_000, 0)),  # all there is
        (PLAIN, 1_000, (256, 256, 0)),  # a share below the useful minimum is raised to it
        (PLAIN, 356, (256, 256, 0)),
        (PLAIN._replace(choices=3), 4_100, (999, 333, 0)),  # divided by n
        (PLAIN._replace(choices=3), 868, (768, 256, 0)),
        (PLAIN._replace(client_max_tokens=4_000), 4_100, (4_000, None, 0)),  # fits, so it is left alone
        (PLAIN._replace(client_max_tokens=4_000), 4_099, (999, 999, 0)),
        (PLAIN._replace(client_max_tokens=50, cap_tokens=50), 150, (50, None, 0)),  # less than useful, but asked for
        (PLAIN._replace(client_max_tokens=9_000), 100_000, (4_000, 4_000, 0)),  # above what the model can
        (PLAIN._replace(client_max_tokens=5_000, cap_tokens=100), 200, (100, 100, 0)),
        (STREAM, 8_100, (2_048, 4_000, 2_048)),  # a slice, and the room as the upstream's cap
        (STREAM, 3_100, (2_048, 3_000, 2_048)),
        (STREAM._replace(usual_tokens=2_500), 3_100, (2_500, 3_000, 2_500)),
        (STREAM, 1_100, (1_000, 1_000, 2_048)),
        (STREAM._replace(client_max_tokens=4_000), 5_000, (2_048, None, 2_048)),
    ],
)
def test_rule_4_what_is_held_and_sent(ask: OutputAsk, left: int, expected: tuple[int, int | None, int]) -> None:
    size = size_output(ask, (Room(Draw.TOKENS, left),))
    assert size is not None
    assert (size.output_tokens, size.send_cap, size.slice_tokens) == expected


@pytest.mark.parametrize(
    ("ask", "left"),
    [
        (PLAIN, 355),
        (STREAM, 355),
        (PLAIN._replace(choices=3), 867),
        (PLAIN._replace(client_max_tokens=50, cap_tokens=50), 149),
        (PLAIN._replace(min_useful_tokens=4_096), 4_099),  # hidden reasoning, capped by the model itself
        (PLAIN, -10),
    ],
)
def test_rule_4_refused_below_the_useful_minimum(ask: OutputAsk, left: int) -> None:
    assert size_output(ask, (Room(Draw.TOKENS, left),)) is None


@pytest.mark.parametrize("draw", list(Draw))
def test_without_limits_nothing_is_capped(draw: Draw) -> None:
    """Nor by a limit of which the call asks nothing: a free model goes on after an overrun of money."""
    size = size_output(PLAIN, ())
    assert size is not None
    assert (size.output_tokens, size.send_cap) == (4_000, None)
    nothing = PLAIN._replace(prompt_tokens=0, prompt_usd_micros=0, output_pico_usd=0, cap_tokens=0, client_max_tokens=0)
    assert size_output(nothing, (Room(draw, -1),)) == size_output(nothing, ())
