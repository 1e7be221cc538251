"""The admin API: data and actions of the admin site for programs, with a bearer token."""

import re
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, abort, current_app, g, jsonify, request
from sqlalchemy import Engine

from pocketrec_bundle.errors import InputError, PocketRecError
from pocketrec_bundle.settings.rollout import CHANNEL, KILLED, SHA256
from pocketrec_server.admin import statistics
from pocketrec_server.admin.operations import ACTIONS, MAX_REASON, Action
from pocketrec_server.admin.services import services
from pocketrec_server.auth import audit
from pocketrec_server.auth.tokens import OPERATE, READ
from pocketrec_server.halting.circuit_breaker import lacks
from pocketrec_server.http.openapi import COUNT, TEXT, Schema, array, described, record, scope_of
from pocketrec_server.repository.channel_status import LiveChannel, Release, live
from pocketrec_server.repository.standing import HALTED, STANDINGS

MOST_ENTRIES = 1000
_MANIFEST: Schema = {"type": "string", "pattern": f"^{SHA256.pattern}$"}
_CHANNEL: Schema = {"type": "string", "pattern": f"^{CHANNEL.pattern}$"}
_RELEASE = record(
    manifest=_MANIFEST,
    name=TEXT,
    percent={"type": "number"},
    state={"enum": ["active", "paused", "killed", "halted"]},
    standing={"enum": list(STANDINGS)},
    share={"type": "number"},
    halted={"type": ["string", "null"]},
    halting_lacks={"type": ["string", "null"]},
    created_utc={"type": "integer"},
    built_utc={"type": ["integer", "null"]},
    published_utc={"type": ["integer", "null"]},
    full_bytes=COUNT,
    update_bytes={"type": ["integer", "null"]},
)
_LIVE = record(channel=_CHANNEL, expires_utc=COUNT, releases=array(_RELEASE))
_ENTRY = record(
    number=COUNT,
    at_utc=COUNT,
    actor=TEXT,
    token_id={"type": ["string", "null"]},
    action=TEXT,
    subject=TEXT,
    details={"type": "object"},
    outcome=TEXT,
)
_ACTION: Schema = record(
    optional=("percent", "reason"),
    action={"enum": list(ACTIONS)},
    manifest=_MANIFEST,
    percent={"type": "number", "minimum": 0, "maximum": 100},
    reason={"type": "string", "maxLength": MAX_REASON},
) | {"additionalProperties": False}


API = Blueprint("admin_api", __name__, url_prefix="/v1/admin")
"""Routes below /v1/admin; each needs a token with the scope in its description."""


@API.before_request
def check() -> None:
    """Check the token against the scope of the view."""
    g.token = services().gate.bearer(scope_of(current_app.view_functions[request.endpoint or ""]))


@API.get("/channels")
@described(
    "Channels with their live releases, newest first.",
    tag="admin",
    ok=record(channels=array(_LIVE)),
    scope=READ,
)
def channels() -> Response:
    """Return each channel with its live releases."""
    shared = services()
    return jsonify(channels=[_shown(channel, shared.engine) for channel in live(shared.repo)])


@API.post("/channels/<channel>/actions")
@described(
    "Change a release of a channel. The audit log records the action.",
    tag="admin",
    path={"channel": _CHANNEL},
    body=_ACTION,
    ok=record(audit=COUNT),
    errors=(400, 409, 413, 415),
    scope=OPERATE,
)
def act(channel: str) -> Response:
    """Execute an action on a release of a channel."""
    try:
        requested = Action.from_json(channel, request.get_json())
    except InputError as err:
        abort(400, str(err))
    try:
        return jsonify(audit=services().operations.do(g.token, requested))
    except PocketRecError as err:
        abort(409, str(err))


@API.get("/audit")
@described(
    "The audit log, newest first.",
    tag="admin",
    query={
        "before": {"type": "integer", "minimum": 1, "maximum": 2**31},
        "most": {"type": "integer", "minimum": 1, "maximum": MOST_ENTRIES},
    },
    ok=record(entries=array(_ENTRY)),
    errors=(400,),
    scope=READ,
)
def entries() -> Response:
    """Return entries of the audit log, newest first."""
    before = _number("before", 2**31)
    listed = audit.entries(services().engine, _number("most", MOST_ENTRIES) or 100, before)
    return jsonify(entries=[asdict(entry) for entry in listed])


@API.get("/figures")
@described(
    "Events, bytes and outcomes of the last 30 days.",
    tag="admin",
    ok=record(
        days=array(COUNT),
        events=array(COUNT),
        saved_bytes=array(COUNT),
        rejected={"type": "object"},
        served=array({"type": "object"}),
        outcomes=array(record(channel=TEXT, manifest=TEXT, outcome=TEXT, devices=array(COUNT))),
        installs=COUNT,
    ),
    scope=READ,
)
def show_figures() -> Response:
    """Return events, bytes and outcomes of the last 30 days."""
    figures = statistics.read(services().engine)
    return jsonify(
        days=figures.days,
        events=figures.events,
        saved_bytes=figures.saved,
        rejected=figures.rejected,
        served=[{kind: asdict(one) for kind, one in day.items()} for day in figures.served],
        outcomes=[
            {"channel": channel, "manifest": manifest, "outcome": outcome, "devices": devices}
            for (channel, manifest, outcome), devices in figures.outcomes.items()
        ],
        installs=figures.installs,
    )


@API.errorhandler(PocketRecError)
def unreadable(err: PocketRecError) -> Any:
    """Report that the repository cannot be read."""
    return jsonify(error=str(err)), 503


def _number(name: str, most: int) -> int | None:
    """Return a number of the query, or None if missing; respond 400 if it is not valid."""
    text = request.args.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text) or not 1 <= int(text) <= most:
        abort(400, f"{name} must be a number 1..{most}")
    return int(text)


def _shown(channel: LiveChannel, engine: Engine) -> dict[str, Any]:
    releases = [
        {
            "manifest": release.stage.manifest,
            "name": release.stage.name,
            "percent": release.percent,
            "state": _state(release),
            "standing": release.standing.state,
            "share": release.standing.share,
            "halted": release.halted,
            "halting_lacks": lacks(engine, channel.policy.channel, release.stage),
            "created_utc": release.data_until_utc,
            "built_utc": release.built_utc,
            "published_utc": release.published_utc,
            "full_bytes": release.full_bytes,
            "update_bytes": release.update_bytes,
        }
        for release in channel.releases
    ]
    name, expires = channel.policy.channel, channel.expires_utc
    return {"channel": name, "expires_utc": expires, "releases": releases}


def _state(release: Release) -> str:
    """Return the state of a release: that of the policy, or HALTED."""
    is_halted = release.halted is not None and release.stage.state != KILLED
    return HALTED if is_halted else release.stage.state
