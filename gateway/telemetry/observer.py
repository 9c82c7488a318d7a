"""Tells log and metrics about finished calls. Never waits, never raises (port `Telemetry`)."""

from typing import Any

from gateway.core.record import CallRecord
from gateway.telemetry.log import call_line
from gateway.telemetry.metrics import Metrics


class Observer:
    def __init__(self, log: Any, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics

    def finished(self, record: CallRecord) -> None:
        self._metrics.count(record)
        self._log.info("call", **call_line(record))
