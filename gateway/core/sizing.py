"""How much output a call holds, and which cap it is sent with (SEMANTICS.md rules 1, 4, 5, 30).

Rules: the hold never passes the room of a hard limit; ample room holds the whole cap; otherwise a stream whose every
output token the meter sees holds a slice and is topped up, and everything else is clamped to a share of what is left;
a client's own maximum that fits is never touched.
"""

from enum import IntEnum
from typing import NamedTuple

from gateway.core.money import PICOS_PER_MICRO, picos_to_micros_up


class Draw(IntEnum):
    """How a limit's room is used up by a call: by prompt and output, by one of them, or in money."""

    TOKENS = 0
    INPUT = 1
    OUTPUT = 2
    MONEY = 3


class Room(NamedTuple):
    """What one hard limit has left for this call, in its unit."""

    draw: Draw
    left: int


class OutputAsk(NamedTuple):
    """What is known about a call's output before it is sent.

    `cap_tokens` = the upstream's maximum for one choice (the client's, else the model's); `usual_tokens` = what calls
    of this session usually produce (0 = not known yet); `output_pico_usd` = dearest rate of an output token.
    """

    prompt_tokens: int
    prompt_usd_micros: int
    output_pico_usd: int
    cap_tokens: int
    client_max_tokens: int | None
    cap_known_upstream: bool
    choices: int
    usual_tokens: int
    sliceable: bool
    min_useful_tokens: int
    slice_min_tokens: int


class Size(NamedTuple):
    """`output_tokens` are held; `send_cap` is the maximum per choice to send upstream, None = leave the client's;
    `slice_tokens` > 0 = the hold is a slice of that size and is topped up, at most to `ceiling_tokens` in all."""

    output_tokens: int
    send_cap: int | None
    slice_tokens: int
    ceiling_tokens: int


AMPLE_DIVISOR = 4


def size_output(ask: OutputAsk, rooms: tuple[Room, ...]) -> Size | None:
    """The hold for a call's output, None if what is left is useless (refuse; `least_tokens` says what would do)."""
    full = ask.cap_tokens * ask.choices
    # A limit of which the call asks nothing does not bind it, even when an overrun left less than nothing there.
    binding = [(room, asked) for room in rooms if (asked := amount_asked(room.draw, ask, full))]
    if not binding:
        return Size(full, None, 0, full)
    if all(asked * AMPLE_DIVISOR <= room.left for room, asked in binding):
        return Size(full, _injected(ask, ask.cap_tokens), 0, full)
    room = min(output_room(r, ask) for r, _ in binding)
    if room < least_tokens(ask):
        return None
    ceiling = min(full, room)
    if ask.sliceable:
        slice_tokens = max(ask.usual_tokens, ask.slice_min_tokens)
        return Size(min(slice_tokens, ceiling), _injected(ask, ceiling), slice_tokens, ceiling)
    if ask.client_max_tokens is not None and full <= room:
        return Size(full, _injected(ask, ask.cap_tokens), 0, full)
    share = max(4 * ask.usual_tokens * ask.choices, room // AMPLE_DIVISOR, least_tokens(ask))
    held = min(full, share, room) // ask.choices * ask.choices
    return Size(held, _injected(ask, held // ask.choices), 0, held)


def least_tokens(ask: OutputAsk) -> int:
    """The smallest output worth sending a call for, over all choices."""
    return min(ask.cap_tokens, ask.min_useful_tokens) * ask.choices


def output_room(room: Room, ask: OutputAsk) -> int:
    """The output tokens that a limit leaves after the prompt; negative if not even the prompt fits."""
    if room.draw is Draw.OUTPUT:
        return room.left
    if room.draw is Draw.TOKENS:
        return room.left - ask.prompt_tokens
    if room.draw is Draw.INPUT:
        fits = room.left >= ask.prompt_tokens
        return ask.cap_tokens * ask.choices if fits else -1
    money = room.left - ask.prompt_usd_micros
    if money < 0:
        return -1
    if ask.output_pico_usd == 0:
        return ask.cap_tokens * ask.choices
    return money * PICOS_PER_MICRO // ask.output_pico_usd


def amount_asked(draw: Draw, ask: OutputAsk, output_tokens: int) -> int:
    """What the call asks of a limit for this much output: the `asked` of a denial when given `least_tokens`."""
    if draw is Draw.OUTPUT:
        return output_tokens
    if draw is Draw.INPUT:
        return ask.prompt_tokens
    if draw is Draw.TOKENS:
        return ask.prompt_tokens + output_tokens
    return ask.prompt_usd_micros + money_for(output_tokens, ask.output_pico_usd)


def money_for(tokens: int, pico_usd: int) -> int:
    """Micro-USD of tokens at a rate, rounded up: a bound."""
    return picos_to_micros_up(tokens * pico_usd)


def _injected(ask: OutputAsk, per_choice: int) -> int | None:
    """The cap to send: none if the client's own fits, or if the upstream keeps to the model's maximum by itself."""
    if ask.client_max_tokens is not None:
        return None if ask.client_max_tokens <= per_choice else per_choice
    return None if ask.cap_known_upstream and per_choice >= ask.cap_tokens else per_choice
