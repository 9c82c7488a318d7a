"""What a principal, a model or a tool belongs to, through any number of links."""

from collections.abc import Iterable

from gateway.policy.rows import ANYTHING, EVERYONE, GROUP_PREFIX, NONE, Link


def closure_of(links: Iterable[Link]) -> dict[str, frozenset[str]]:
    """Every member with all that it belongs to, itself included. The reader has refused cycles."""
    outgoing: dict[str, list[str]] = {}
    for link in links:
        outgoing.setdefault(link.member, []).append(link.group)
    reached: dict[str, frozenset[str]] = {}
    for member, groups in outgoing.items():
        seen = {member}
        ahead = list(groups)
        while ahead:
            name = ahead.pop()
            if name not in seen:
                seen.add(name)
                ahead.extend(outgoing.get(name, ()))
        reached[member] = frozenset(seen)
    return reached


def with_roles(subjects: frozenset[str], closure: dict[str, frozenset[str]]) -> frozenset[str]:
    return subjects.union(*(closure.get(subject, ()) for subject in subjects), (EVERYONE,))


class NameKeys:
    """The patterns of rows that match a model or tool, as keys to look rows up by."""

    def __init__(self, patterns: Iterable[str], links: Iterable[Link]) -> None:
        links = tuple(links)
        reached = closure_of(links)
        known = {*patterns, *reached} - {NONE, ANYTHING}
        keys = {name: tuple(reached.get(name, (name,))) for name in known if not name.startswith(GROUP_PREFIX)}
        self._of_exact = {name: of_name for name, of_name in keys.items() if not name.endswith(ANYTHING)}
        self._of_stem = {name[:-1]: of_name for name, of_name in keys.items() if name.endswith(ANYTHING)}
        self._stem_lengths = tuple(sorted({len(stem) for stem in self._of_stem}))

    def of(self, name: str) -> tuple[str, ...]:
        """Without doubles, so that no row is found twice. Names that no row knows match prefixes and `*` only."""
        if name == NONE:
            return (NONE, ANYTHING)
        keys = self._of_exact.get(name, ())
        several = bool(keys)
        for length in self._stem_lengths:
            if length > len(name):
                break
            of_stem = self._of_stem.get(name[:length])
            if of_stem is not None:
                keys = tuple({*keys, *of_stem}) if several else of_stem
                several = True
        return (ANYTHING, *keys)
