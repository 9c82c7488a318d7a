"""Detector: the same two, three or four steps in the same order, again and again. Pure.

A cycle is as long as its shortest repeating part; steps that are all equal are the other detectors' business.
"""

LENGTH_MAX = 4
NO_CYCLE = (0, 0)
_LENGTHS = (2, 3, 4)
_NOTHING = (b"", b"")


class Cycles:
    """The latest steps, newest first, and for each length how many of the latest in a row are equal to those so many
    before them."""

    __slots__ = ("_matches", "_recent")

    def __init__(self) -> None:
        self._recent = (_NOTHING, _NOTHING, _NOTHING, _NOTHING)
        self._matches = (0, 0, 0)

    def see(self, call: bytes, result: bytes) -> tuple[int, int]:
        """(how often the latest cycle came round in full, its length); (0, 0) = there is none."""
        step, (one, two, three, four), (by_two, by_three, by_four) = (call, result), self._recent, self._matches
        self._recent = (step, one, two, three)
        matches = self._matches = (
            by_two + 1 if step == two else 0,
            by_three + 1 if step == three else 0,
            by_four + 1 if step == four else 0,
        )
        return NO_CYCLE if matches == (0, 0, 0) else self._rounds(matches, self._recent)

    def ahead(self, call: bytes) -> tuple[int, int]:
        """The same for a call that is not made yet, taking it to have the result that fits."""
        (one, two, three, four), (by_two, by_three, by_four) = self._recent, self._matches
        if call not in (two[0], three[0], four[0]):
            return NO_CYCLE
        matches = (
            by_two + 1 if call == two[0] else 0,
            by_three + 1 if call == three[0] else 0,
            by_four + 1 if call == four[0] else 0,
        )
        return self._rounds(matches, ((call, b""), one, two, three))

    @staticmethod
    def _rounds(matches: tuple[int, int, int], recent: tuple[tuple[bytes, bytes], ...]) -> tuple[int, int]:
        best = NO_CYCLE
        for length, matched in zip(_LENGTHS, matches, strict=True):
            rounds = (matched + length) // length
            if matched and rounds > best[0] and any(recent[0][0] != call for call, _ in recent[1:length]):
                best = (rounds, length)
        return best
