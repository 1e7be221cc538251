"""POST /v1/outcomes: count the outcomes of releases on devices, with the user's consent."""

import time
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, abort, jsonify, request
from prometheus_client import CollectorRegistry, Counter
from sqlalchemy import Engine

from pocketrec_bundle.encoding.strict_json import parse_json
from pocketrec_bundle.errors import BundleInvalidError, PocketRecError
from pocketrec_server.halting import outcomes
from pocketrec_server.halting.circuit_breaker import CircuitBreaker, published
from pocketrec_server.http.networks import network_of
from pocketrec_server.http.openapi import TEXT, array, described, record


def outcome_routes(
    repo: Path, engine: Engine, registry: CollectorRegistry, brake: CircuitBreaker | None
) -> Blueprint:
    """Return the route.

    Args:
        repo: folder of the repository, whose policies name the releases.
        engine: the open database.
        registry: registry of the metrics.
        brake: the circuit breaker; None if the server has no key of the role `brake`.
    """
    routes = Blueprint("outcomes", __name__)
    rejected = Counter(
        "pocketrec_outcomes_rejected",
        "Outcomes rejected, by reason.",
        ["reason"],
        registry=registry,
    )
    halted = Counter(
        "pocketrec_halts",
        "Releases halted by failures, by channel.",
        ["channel"],
        registry=registry,
    )

    @routes.post("/v1/outcomes")
    @described(
        "Count the outcomes of releases on a device. It needs the user's consent.",
        tag="devices",
        body=record(consent={"const": True}, channel=TEXT, outcomes=array({}, outcomes.MAX_BATCH)),
        ok=record(accepted=array(TEXT), rejected=array(record(id=TEXT, reason=TEXT))),
        errors=(400, 403, 404, 413, 415, 503),
    )
    def count_outcomes() -> Response:
        request.max_content_length = outcomes.MAX_BODY_BYTES
        if request.mimetype != "application/json":
            abort(415, "Content-Type must be application/json")
        channel, reported = _batch(request.get_data())
        try:
            known = {stage.manifest for stage in published(repo, channel).policy.releases}
        except PocketRecError:
            abort(404, f"unknown channel {channel[:32]!r}")
        network = network_of(request.remote_addr or "")
        report = outcomes.count(engine, channel, known, reported, time.time(), network=network)
        for rejection in report.rejected:
            rejected.labels(rejection["reason"]).inc()
        if report.to_judge and brake is not None:
            halted.labels(channel).inc(len(brake.check(channel, report.to_judge)))
        return jsonify(accepted=report.ids, rejected=report.rejected)

    return routes


def _batch(content: bytes) -> tuple[str, list[Any]]:
    """Return the channel and the unvalidated outcomes of a body; else respond 400, 403 or 413."""
    try:
        body = parse_json("the body", content, outcomes.MAX_BODY_BYTES)
    except BundleInvalidError as err:
        abort(400, str(err))
    if not isinstance(body, dict) or not isinstance(body.get("outcomes"), list):
        abort(400, 'expected {"consent": true, "channel": text, "outcomes": [...]}')
    if body.get("consent") is not True:
        abort(403, "no consent was given, so nothing was counted")
    if len(body["outcomes"]) > outcomes.MAX_BATCH:
        abort(413, f"at most {outcomes.MAX_BATCH} outcomes a batch")
    return str(body.get("channel")), body["outcomes"]
