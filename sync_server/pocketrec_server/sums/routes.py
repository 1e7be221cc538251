"""POST /v1/sums: sums of an experiment from one device. DELETE /v1/sums/ID: erase them."""

import time
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, jsonify, request
from prometheus_client import CollectorRegistry, Counter
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from pocketrec_bundle.encoding.strict_json import matches
from pocketrec_bundle.errors import BundleInvalidError, PocketRecError
from pocketrec_bundle.settings.experiment import Experiment
from pocketrec_bundle.settings.experiment_sums import BODY_BYTES, SCHEMA, SUMS_ID, DeviceSums
from pocketrec_server.errors import UploadRefusedError
from pocketrec_server.events.rate_limit import LIMITS, Limits
from pocketrec_server.http.networks import network_of
from pocketrec_server.http.openapi import COUNT, TEXT, described, record
from pocketrec_server.sums import store
from pocketrec_server.sums.known import published_experiments

_BUSY_RETRY_S = 60
_ID = {"type": "string", "pattern": f"^{SUMS_ID.pattern}$"}
_COUNTS = {"type": "object", "additionalProperties": {"type": "integer"}}
_BINS = {"type": "array", "items": COUNT}


def sums_routes(
    repo: Path, engine: Engine, registry: CollectorRegistry, limits: Limits = LIMITS
) -> Blueprint:
    """Return the routes.

    Args:
        repo: folder of the repository, whose channels name the experiments.
        engine: the open database.
        registry: registry of the metrics.
        limits: limits of uploads and events.
    """
    routes = Blueprint("sums", __name__)
    received = Counter(
        "pocketrec_sums_received",
        "Sums of experiments from devices, by result.",
        ["result"],
        registry=registry,
    )
    for result in ("stored", "older", "refused"):
        received.labels(result)

    @routes.post("/v1/sums")
    @described(
        "Store the sums of a device in an experiment. It needs the user's consent. A body with a"
        " lower or equal seq than the stored one changes nothing.",
        tag="devices",
        body=record(
            schema={"const": SCHEMA},
            consent={"const": True},
            channel=TEXT,
            experiment=TEXT,
            salt=TEXT,
            arm=TEXT,
            id=_ID,
            seq=COUNT,
            currency={"type": ["string", "null"]},
            sums=_COUNTS,
            past=_COUNTS,
            score_bins=_BINS,
            latency_bins=_BINS,
        ),
        ok=record(stored={"type": "boolean"}),
        errors=(400, 409, 413, 415, 429, 503),
    )
    def upload() -> Response:
        request.max_content_length = BODY_BYTES
        if request.mimetype != "application/json":
            raise UploadRefusedError(415, "Content-Type must be application/json")
        try:
            body = DeviceSums.from_bytes(request.get_data())
        except BundleInvalidError as err:
            raise UploadRefusedError(400, str(err)) from err
        one, now = _experiment(repo, body), time.time()
        network, is_guarded = network_of(request.remote_addr or ""), bool(one.guardrails)
        stored = store.store(
            engine, body, one.until_utc, limits, now, network, is_guarded=is_guarded
        )
        received.labels("stored" if stored else "older").inc()
        return jsonify(stored=stored)

    @routes.delete("/v1/sums/<sums_id>")
    @described(
        "Erase the sums of an id. The secret id authorises the request.",
        tag="devices",
        path={"sums_id": _ID},
        ok=record(erased=COUNT),
        errors=(400, 503),
    )
    def forget(sums_id: str) -> Response:
        if not matches(SUMS_ID, sums_id):
            raise UploadRefusedError(400, "an id has 32 hex digits")
        return jsonify(erased=store.erase(engine, sums_id))

    @routes.errorhandler(UploadRefusedError)
    def refuse(err: UploadRefusedError) -> Any:
        received.labels("refused").inc()
        answer = jsonify(error=str(err))
        if err.retry_after_s is not None:
            answer.headers["Retry-After"] = str(err.retry_after_s)
        return answer, err.status

    @routes.errorhandler(SQLAlchemyError)
    def unavailable(_: SQLAlchemyError) -> Any:
        received.labels("refused").inc()
        answer = jsonify(error="the database is unavailable; send the sums again later")
        answer.headers["Retry-After"] = str(_BUSY_RETRY_S)
        return answer, 503

    return routes


def _experiment(repo: Path, body: DeviceSums) -> Experiment:
    """Return the signed experiment of a body.

    Raises:
        UploadRefusedError: the channel has no such experiment, salt or arm.
    """
    try:
        found = published_experiments(repo, body.channel).find(body.experiment)
    except PocketRecError:
        found = None
    if found is None or found.salt != body.salt or found.arm(body.arm) is None:
        raise UploadRefusedError(409, "the channel has no such experiment, salt or arm")
    return found
