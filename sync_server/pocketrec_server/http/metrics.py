"""Metrics for Prometheus, of one process or of all workers of a server.

If PROMETHEUS_MULTIPROC_DIR is set, each worker keeps its metrics in a file of that folder, and each
worker reports the metrics of all (see `workers.py`).
"""

import os
from collections.abc import Callable, Iterable

from flask import Blueprint, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from pocketrec_server.http.openapi import described
from pocketrec_server.process import METRICS_FOLDER

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

Gauges = Callable[[], dict[str, float]]


class Metrics:
    """Metrics of the routes, in an own registry."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "pocketrec_requests",
            "Requests by route and status.",
            ["route", "status"],
            registry=registry,
        )
        self.sent_bytes = Counter(
            "pocketrec_sent_bytes", "Bytes of bodies sent.", ["route"], registry=registry
        )
        self.seconds = Histogram(
            "pocketrec_request_seconds",
            "Time to an answer, by route.",
            ["route"],
            registry=registry,
            buckets=_SECONDS,
        )

    def exposition(self, gauges: Iterable[Collector]) -> bytes:
        """Return the counters of all workers and the current gauges in Prometheus' text format."""
        if METRICS_FOLDER not in os.environ:
            counted = generate_latest(self.registry)
        else:
            workers = CollectorRegistry()
            MultiProcessCollector(workers)  # type: ignore[no-untyped-call]
            counted = generate_latest(workers)
        now = CollectorRegistry()
        for gauge in gauges:
            now.register(gauge)
        return counted + generate_latest(now)


class GaugeNow(Collector):
    """A gauge that is computed at each scrape, with one label."""

    def __init__(self, name: str, text: str, label: str, look_up: Gauges) -> None:
        self._facts = name, text, label
        self._look_up = look_up

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Compute the values."""
        name, text, label = self._facts
        family = GaugeMetricFamily(name, text, labels=[label])
        for key, value in self._look_up().items():
            family.add_metric([key], value)
        yield family


def blueprint(metrics: Metrics, gauges: Iterable[Collector]) -> Blueprint:
    """Return the route for Prometheus."""
    routes = Blueprint("metrics", __name__)
    gauges = list(gauges)

    @routes.get("/metrics")
    @described("Metrics for Prometheus.", tag="operation", ok="text/plain")
    def exposition() -> Response:
        return Response(metrics.exposition(gauges), content_type=CONTENT_TYPE_LATEST)

    return routes
