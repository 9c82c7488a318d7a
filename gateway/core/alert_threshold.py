"""Which of a limit's `alert_at` marks a settlement passed (rule 28): posted/limit, once per mark, counter and window.

A mark is passed by the settlement that brings the posted sum from below it to it or above; a counter that is loaded
from the books at or above a mark was told about before. So nothing has to be remembered beside the counter itself.
"""

from collections.abc import Sequence


def marks_passed(percents: Sequence[int], limit: int, before: int, after: int) -> tuple[int, ...]:
    """The marks (per cent of `limit`, grants included) that lie in (before, after], in the limit's unit; lowest first.

    `before` and `after` are what the counter had posted. A limit of nothing has none.
    """
    if limit <= 0 or after <= before:
        return ()
    return tuple(sorted(percent for percent in set(percents) if before * 100 < percent * limit <= after * 100))
