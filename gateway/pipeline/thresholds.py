"""Tells the operator that limits reached a mark of their `alert_at`."""

from gateway.core.alert_threshold import Reached, threshold_alert
from gateway.core.attribution import Attribution
from gateway.pipeline.plane import Plane


def tell_reached(plane: Plane, reached: tuple[Reached, ...], attribution: Attribution, now_us: int) -> None:
    """To be called in one step with posting the settlement, so that both are written together or not at all."""
    for each in reached:
        plane.alerts.post(threshold_alert(each, attribution, plane.digest_key, now_us))
