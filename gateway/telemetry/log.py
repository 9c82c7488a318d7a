"""structlog, configured once: JSON lines (or text for people) on standard error, no content, no secrets.

One canonical line a call. Lines are handed to the stream unbuffered in time but not flushed one by one: the housekeeper
flushes several times a second, and an orderly end does.
"""

import logging
import sys
import time
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, BinaryIO

import orjson
import structlog

from gateway.core.record import CallRecord

_FIELDS = CallRecord._fields
Processor = Callable[[Any, str, MutableMapping[str, Any]], Any]


class Stamper:
    """The processor that adds level and time (RFC 3339 in UTC, to the microsecond). The second is written out once."""

    def __init__(self) -> None:
        self._second = -1
        self._stamp = ""

    def __call__(self, _logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        second, rest_ns = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        event["level"] = name
        event["timestamp"] = f"{self._stamp}.{rest_ns // 1000:06d}Z"
        return event


class BufferedLines:
    """The file that structlog writes to: lines gather until `flush` or until there are many."""

    def __init__(self, out: BinaryIO, processors: Sequence[Processor] = (), lines_max: int = 256) -> None:
        self._out = out
        self._processors = processors
        self._lines: list[bytes] = []
        self._lines_max = lines_max

    def msg(self, line: bytes) -> None:
        self._lines.append(line)
        if len(self._lines) >= self._lines_max:
            self.flush()

    log = debug = info = warning = error = critical = exception = msg

    def tell(self, event: str, fields: MutableMapping[str, Any]) -> None:
        """A line at level `info` by the same processors, for what is said on every call: a logger of structlog would
        take twice as long, most of it to hand its arguments on. `fields` are changed."""
        fields["event"] = event
        line: Any = fields
        for process in self._processors:
            line = process(None, "info", line)
        self.msg(line)

    def flush(self) -> None:
        """Never raises: a log that cannot be written must not stop a call."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            self._out.write(b"\n".join(lines) + b"\n")
            self._out.flush()
        except (OSError, ValueError):
            return


def configure(log_format: str, out: BinaryIO | None = None) -> BufferedLines:
    """Sets structlog up for this process; the standard library's loggers of our servers go the same way."""
    processors: list[Processor] = [Stamper(), _as_json if log_format == "json" else _as_text]
    lines = BufferedLines(out if out is not None else sys.stderr.buffer, processors)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")
    # Casbin logs every denied request with its values.
    logging.getLogger("casbin").setLevel(logging.CRITICAL)
    return lines


def call_line(record: CallRecord) -> dict[str, Any]:
    """The fields of the canonical line, empty ones left out."""
    return {name: value for name, value in zip(_FIELDS, record, strict=True) if value and value != "-"}


def _as_json(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> bytes:
    return orjson.dumps(event, default=str)


def _as_text(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> bytes:
    stamp, level, said = event.pop("timestamp", ""), event.pop("level", ""), event.pop("event", "")
    rest = " ".join(f"{name}={_shown(value)}" for name, value in event.items())
    return f"{stamp[11:19]} {level:<7} {_shown(said)} {rest}".rstrip().encode("utf-8", "backslashreplace")


def _shown(value: Any) -> str:
    """Text that cannot steer a terminal or forge a line."""
    text = str(value)
    return text if text.isprintable() else text.encode("unicode_escape").decode()
