"""POST /v1/events: what devices whose users agreed send."""

from flask import Blueprint, Response, abort, jsonify, request
from prometheus_client import CollectorRegistry, Counter
from sqlalchemy import Engine

from sync_server import events
from sync_server.openapi import TEXT, array, described, record


def event_routes(engine: Engine, registry: CollectorRegistry) -> Blueprint:
    """Return the routes, over a database that is open, counting in a registry."""
    routes = Blueprint("events", __name__)
    stored = Counter("pocketrec_events_stored", "New events stored.", registry=registry)
    rejected = Counter("pocketrec_events_rejected", "Events rejected.", registry=registry)

    @routes.post("/v1/events")
    @described(
        "Store events of a device whose user agreed.",
        tag="devices",
        body=record(
            install_id={"type": "string", "minLength": 8, "maxLength": 64},
            consent={"const": True},
            events=array({}, events.MAX_BATCH),
        ),
        ok=record(accepted=array(TEXT), rejected=array(record(id=TEXT, reason=TEXT))),
        errors=(400, 403, 413, 415, 503),
    )
    def upload() -> Response:
        body = request.get_json(silent=True)
        if not isinstance(body, dict) or not isinstance(body.get("events"), list):
            abort(400, 'expected {"install_id": text, "consent": true, "events": [...]}')
        if body.get("consent") is not True:
            abort(403, "no consent was given, so nothing was stored")
        install_id = body.get("install_id")
        if not isinstance(install_id, str) or not 8 <= len(install_id) <= 64:
            abort(400, "install_id must be a text of 8..64 characters")
        if len(body["events"]) > events.MAX_BATCH:
            abort(413, f"at most {events.MAX_BATCH} events a batch")
        found = events.store(engine, install_id, body["events"])
        stored.inc(found.stored)
        rejected.inc(len(found.rejected))
        return jsonify(accepted=found.ids, rejected=found.rejected)

    return routes
