"""POST /v1/outcomes: what became of releases on devices whose users agreed."""

import time
from pathlib import Path

from flask import Blueprint, Response, abort, jsonify, request
from prometheus_client import CollectorRegistry, Counter
from sqlalchemy import Engine

from bundle.errors import PocketRecError
from sync_server import outcomes
from sync_server.halting import Brake, published
from sync_server.openapi import TEXT, array, body_of, described, record


def outcome_routes(
    repo: Path, engine: Engine, registry: CollectorRegistry, brake: Brake | None
) -> Blueprint:
    """Return the route.

    Args:
        repo: the repository, whose policies say what releases there are.
        engine: of a database that is open.
        registry: to count in.
        brake: stops what fails on too many devices; None: the server holds no key for that.
    """
    routes = Blueprint("outcomes", __name__)
    counted = Counter("pocketrec_outcomes", "Outcomes counted.", registry=registry)
    halted = Counter("pocketrec_halts", "Releases halted by failures.", registry=registry)

    @routes.post("/v1/outcomes")
    @described(
        "Count what became of releases on a device whose user agreed.",
        tag="devices",
        body=record(consent={"const": True}, channel=TEXT, outcomes=array({}, outcomes.MAX_BATCH)),
        ok=record(accepted=array(TEXT), rejected=array(record(id=TEXT, reason=TEXT))),
        errors=(400, 403, 404, 413, 415, 503),
    )
    def tell() -> Response:
        body = body_of(request)
        if not isinstance(body, dict) or not isinstance(body.get("outcomes"), list):
            abort(400, 'expected {"consent": true, "channel": text, "outcomes": [...]}')
        if body.get("consent") is not True:
            abort(403, "no consent was given, so nothing was counted")
        if len(body["outcomes"]) > outcomes.MAX_BATCH:
            abort(413, f"at most {outcomes.MAX_BATCH} outcomes a batch")
        channel = str(body.get("channel"))
        try:
            known = {stage.manifest for stage in published(repo, channel).policy.releases}
        except PocketRecError:
            abort(404, "there is no such channel")
        found = outcomes.count(engine, channel, known, body["outcomes"], time.time())
        counted.inc(found.new)
        if found.new and brake is not None:
            halted.inc(len(brake.check(channel)))
        return jsonify(accepted=found.ids, rejected=found.rejected)

    return routes
