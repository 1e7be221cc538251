"""POST /v1/events: store uploads, with the user's consent. DELETE /v1/installs/<id>: erase them."""

import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from flask import Blueprint, Response, jsonify, request
from prometheus_client import CollectorRegistry, Counter, Histogram
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from pocketrec_bundle.units import DAY_S
from pocketrec_server.errors import UploadRefusedError
from pocketrec_server.events import uploads
from pocketrec_server.events.erasure import erase
from pocketrec_server.events.ingest import IngestReport, store
from pocketrec_server.events.quotas import HOUR_S, forget_past
from pocketrec_server.events.rate_limit import LIMITS, Limits
from pocketrec_server.events.validation import KINDS
from pocketrec_server.http.content_coding import CODINGS, decoded
from pocketrec_server.http.networks import network_of
from pocketrec_server.http.openapi import COUNT, TEXT, array, described, record

_BUSY_RETRY_S = 60
_LAGS = (60, 3600, 6 * 3600, *(days * DAY_S for days in (1, 2, 7, 30)))
_INSTALL_ID = {"type": "string", "pattern": f"^{uploads.INSTALL_ID.pattern}$"}


Count = Callable[[list[dict[str, Any]]], None]
"""Takes the rows of new events."""
Stages = Callable[[float], Collection[str]]
"""Returns the subjects of the stages of rollouts that guardrails watch at a time (unix seconds)."""


def event_routes(
    engine: Engine,
    registry: CollectorRegistry,
    limits: Limits = LIMITS,
    count_new: Count = lambda _: None,
    stages: Stages = lambda _: (),
) -> Blueprint:
    """Return the routes.

    Args:
        engine: the open database.
        registry: registry of the metrics.
        limits: limits of uploads and events.
        count_new: called with the new events of each upload, after they were stored.
        stages: called before each upload is stored.
    """
    routes = Blueprint("events", __name__)
    stored = Counter(
        "pocketrec_events_stored", "New events stored, by kind.", ["kind"], registry=registry
    )
    for kind in KINDS:  # from 0, so that the first event is an increase
        stored.labels(kind)
    rejected = Counter(
        "pocketrec_events_rejected", "Events rejected, by reason.", ["reason"], registry=registry
    )
    lag = Histogram(
        "pocketrec_event_lag_seconds",
        "Age of the newest event of an upload.",
        registry=registry,
        buckets=_LAGS,
    )
    refused = Counter(
        "pocketrec_uploads_refused", "Uploads refused, by status.", ["status"], registry=registry
    )

    sweep = _Sweep()

    @routes.post("/v1/events")
    @described(
        "Store a batch of events. It needs the user's consent. A repeated batch is stored once.",
        tag="devices",
        headers={"Content-Encoding": {"enum": [*CODINGS, "identity"]}},
        body=record(
            ("schema", "batch"),
            schema={"const": uploads.SCHEMA},
            batch={"type": "string", "format": "uuid"},
            install_id=_INSTALL_ID,
            consent={"const": True},
            events=array({}, uploads.MAX_EVENTS),
        ),
        ok=record(
            ("schema", "batch"),
            schema={"const": uploads.SCHEMA},
            batch={"type": "string", "format": "uuid"},
            accepted={"anyOf": [COUNT, array(TEXT)]},
            rejected=array(record(place=COUNT, id=TEXT, reason=TEXT)),
        ),
        errors=(400, 403, 409, 413, 415, 429, 503),
    )
    def upload() -> Response:
        request.max_content_length = uploads.MAX_BODY_BYTES
        if request.mimetype != "application/json":
            raise UploadRefusedError(415, "Content-Type must be application/json")
        coding = request.headers.get("Content-Encoding", "")
        batch = uploads.parse(decoded(request.get_data(), coding, uploads.MAX_CONTENT_BYTES))
        now = time.time()
        network = network_of(request.remote_addr or "")
        report = store(engine, batch, limits, now, network, stages(now))
        if sweep.is_due(now):
            forget_past(engine, now)
        for row in report.new:
            stored.labels(row["kind"]).inc()
        if report.new:
            lag.observe(max(0.0, now - max(row["ts"] for row in report.new)))
            count_new(report.new)
        for rejection in () if report.again else report.rejected:
            rejected.labels(rejection["reason"]).inc()
        return jsonify(_answer(batch, report))

    @routes.delete("/v1/installs/<install_id>")
    @described(
        "Erase all events of an install. Its secret id authorises the request.",
        tag="devices",
        path={"install_id": _INSTALL_ID},
        ok=record(erased=COUNT),
        errors=(400, 503),
    )
    def forget(install_id: str) -> Response:
        return jsonify(erased=erase(engine, uploads.checked_install_id(install_id)))

    @routes.errorhandler(UploadRefusedError)
    def refuse(err: UploadRefusedError) -> Any:
        refused.labels(err.status).inc()
        answer = jsonify(error=str(err))
        if err.retry_after_s is not None:
            answer.headers["Retry-After"] = str(err.retry_after_s)
        if err.status == 415:
            answer.headers["Accept-Encoding"] = ", ".join(CODINGS)
        return answer, err.status

    @routes.errorhandler(SQLAlchemyError)
    def unavailable(_: SQLAlchemyError) -> Any:
        refused.labels(503).inc()
        answer = jsonify(error="the database is unavailable; send the batch again later")
        answer.headers["Retry-After"] = str(_BUSY_RETRY_S)
        return answer, 503

    return routes


class _Sweep:
    """Schedule of the deletion of past quotas: once an hour in each process."""

    def __init__(self) -> None:
        self._next, self._lock = 0.0, threading.Lock()

    def is_due(self, now: float) -> bool:
        """Return whether it is time; True for one thread per hour."""
        with self._lock:
            is_due = now >= self._next or self._next > now + HOUR_S
            if is_due:
                self._next = now + HOUR_S
            return is_due


def _answer(batch: uploads.Upload, report: IngestReport) -> dict[str, Any]:
    if batch.batch is None:
        return {"accepted": report.accepted, "rejected": report.rejected}
    return {
        "schema": uploads.SCHEMA,
        "batch": batch.batch,
        "accepted": len(report.accepted),
        "rejected": report.rejected,
    }
