"""From pseudonyms back to names, for reports. An erased name stays its pseudonym."""

from collections.abc import Iterable, Mapping, Sequence

import aiosqlite
import orjson

from gateway.core.attribution import PERSONAL_KINDS
from gateway.core.identity import ABSENT
from gateway.storage.pseudonyms import PSEUDONYM
from gateway.storage.stored import SELECT_NAMES

SELECT_ATTRIBUTIONS = "SELECT id, doc FROM attributions WHERE id IN (SELECT value FROM json_each(?1))"

Pairs = Sequence[Sequence[str]]


class Who:
    """Attributions and names, as far as a report needs them."""

    def __init__(self, pairs: Mapping[str, Pairs], names: Mapping[str, str]) -> None:
        self.names = names
        self._pairs = pairs

    def values(self, attribution_id: str, kind: str) -> list[str]:
        """All values under one kind, in clear; `-` where there is none."""
        pairs = self._pairs.get(attribution_id, ())
        return [self._shown(kind, value) for own, value in pairs if own == kind] or [ABSENT]

    def value(self, attribution_id: str, kind: str) -> str:
        return self.values(attribution_id, kind)[0]

    def group(self, attribution_id: str) -> dict[str, str]:
        """Everything that is known of an attribution; several roles or tags are joined by commas."""
        group: dict[str, str] = {}
        for kind, value in self._pairs.get(attribution_id, ()):
            shown = self._shown(kind, value)
            group[kind] = f"{group[kind]},{shown}" if kind in group else shown
        return group

    def _shown(self, kind: str, value: str) -> str:
        return self.names.get(value, value) if kind in PERSONAL_KINDS else value


async def who(
    connection: aiosqlite.Connection, attribution_ids: Iterable[str], texts: Iterable[str] = (), ids: Iterable[str] = ()
) -> Who:
    """Reads the attributions, and the names of all pseudonyms in them and in `texts`, and of `ids`."""
    rows = await connection.execute_fetchall(SELECT_ATTRIBUTIONS, (_array(set(attribution_ids)),))
    pairs: dict[str, Pairs] = {row[0]: orjson.loads(row[1]) for row in rows}
    wanted = {value for own in pairs.values() for kind, value in own if kind in PERSONAL_KINDS}
    wanted.update(ids)
    for text in texts:
        wanted.update(PSEUDONYM.findall(text))
    names = {row[0]: row[1] for row in await connection.execute_fetchall(SELECT_NAMES, (_array(wanted),))}
    return Who(pairs, names)


def _array(values: Iterable[str]) -> str:
    return orjson.dumps(sorted(values)).decode()
