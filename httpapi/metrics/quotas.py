"""Counting what quotas refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from httpapi.metrics.instruments import QUOTA_REFUSALS

if TYPE_CHECKING:
    from catalog.model.errors import QuotaExceeded


def refused(error: QuotaExceeded) -> None:
    """A request is answered with this."""
    QUOTA_REFUSALS.labels(error.quota).inc()
