"""Sessions and the loops that are stopped in them."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.settings.fields import Count, OffOrSeveral, Seconds, setting
from gateway.settings.section import Section


class Sessions(Section):
    idle_timeout_s: Seconds = setting("30m", "A session without calls for this long is over.", alias="idle_timeout")
    wall_time_s: Seconds = setting("8h", "Longest run of a session, idle or not.", alias="wall_time")
    max_children: Annotated[Count, Field(ge=0)] = setting(8, "Child sessions that a session may have open.")
    max_depth: Annotated[Count, Field(ge=0)] = setting(3, "Levels of child sessions.")
    max_new_per_hour: Annotated[Count, Field(ge=1)] = setting(60, "New sessions per agent, or per key without agent.")


class Loops(Section):
    identical_requests: OffOrSeveral = setting(5, "Same request in a row that counts as a loop; or `off`.")
    identical_tool_calls: OffOrSeveral = setting(6, "Same tool call in a row that counts as a loop; or `off`.")
    action: Literal["off", "note", "warn", "pause", "stop"] = setting(
        "pause",
        "`note` records, `warn` says so in a header, `pause` waits for a person, `stop` ends it; or `off`.",
    )
