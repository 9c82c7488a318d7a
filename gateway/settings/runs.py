"""Sessions and the loops that are stopped in them."""

from typing import Annotated

from pydantic import Field

from gateway.settings.actions import action_of
from gateway.settings.fields import Count, Flag, Items, OffOrSeveral, Seconds, UsdMicros, section, setting
from gateway.settings.section import Section


class Sessions(Section):
    idle_timeout_s: Seconds = setting("30m", "A session without calls for this long is over.", alias="idle_timeout")
    wall_time_s: Seconds = setting("8h", "Longest run of a session, idle or not.", alias="wall_time")
    max_children: Annotated[Count, Field(ge=0)] = setting(8, "Child sessions that a session may have open.")
    max_depth: Annotated[Count, Field(ge=0)] = setting(3, "Levels of child sessions.")
    fingerprint: Flag = setting(
        False, "Tell calls without a mark apart by how their conversations began: each a session of its own."
    )
    max_new_per_hour: Annotated[Count, Field(ge=1)] = setting(60, "New sessions per agent, or per key without agent.")


_WORDS = ("off", "note", "warn", "throttle", "pause", "stop")
LoopAction = Annotated[str, *action_of(_WORDS)]


class LoopActions(Section):
    """One action a detector."""

    identical_requests: LoopAction | None = setting(None, "As `action`, for the same request.")
    identical_tool_calls: LoopAction | None = setting(None, "As `action`, for the same tool call.")
    identical_results: LoopAction | None = setting(None, "As `action`, for the same result.")
    cycle: LoopAction | None = setting(None, "As `action`, for the same steps in turns.")
    errors_in_a_row: LoopAction | None = setting(None, "As `action`, for errors in a row.")
    no_progress: LoopAction | None = setting(None, "As `action`, for going on without anything new.")
    spend_velocity: LoopAction | None = setting(None, "As `action`, for spending far more than usual.")


class Rung(Section):
    percent: Annotated[Count, Field(ge=1, le=99)] = setting(
        ..., "From this share of a detector's number on.", alias="at"
    )
    action: LoopAction = setting(..., "What is done from there on; never more than at the number itself.")


class Loops(Section):
    identical_requests: OffOrSeveral = setting(5, "Same request in a row that counts as a loop; or `off`.")
    identical_tool_calls: OffOrSeveral = setting(
        6, "Same tool call with the same result in a row that counts as a loop; or `off`."
    )
    identical_results: OffOrSeveral = setting(
        10, "Same result of the same tool, whatever the arguments, that counts with nothing new in between; or `off`."
    )
    cycle: OffOrSeveral = setting(4, "Rounds of the same two, three or four steps that count as a loop; or `off`.")
    errors_in_a_row: OffOrSeveral = setting(
        10, "Failed tool calls, or upstream errors that the client does not wait after, in a row; or `off`."
    )
    no_progress: OffOrSeveral = setting(10, "Turns in a row with nothing in them that is new; or `off`.")
    spend_velocity: OffOrSeveral = setting(
        10, "Times an agent's usual spend of a quarter of an hour, by its own past; or `off`."
    )
    spend_velocity_from_usd_micros: UsdMicros = setting(
        1, "Less than this in a quarter of an hour is never too much. In USD.", alias="spend_velocity_from_usd"
    )
    action: LoopAction = setting(
        "pause",
        "`note` records, `warn` says so in a header, `throttle` slows down, `{route_to: <model>}` goes on with another "
        "model, `pause` waits for a person, `stop` ends it; or `off`.",
    )
    actions: LoopActions = section(LoopActions, "Other actions for some detectors.")
    ladder: Items[Rung] = setting((), "Milder actions before a detector's number is reached; warned is always.")
