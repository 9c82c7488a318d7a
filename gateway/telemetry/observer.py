"""Tells log and metrics about finished calls. Never waits, never raises (port `Telemetry`)."""

from gateway.core.record import CallRecord
from gateway.telemetry.log import BufferedLines, call_line
from gateway.telemetry.metrics import Metrics


class Observer:
    def __init__(self, lines: BufferedLines, metrics: Metrics) -> None:
        self._lines = lines
        self._metrics = metrics

    def finished(self, record: CallRecord) -> None:
        self._metrics.count(record)
        self._lines.tell("call", call_line(record))
