"""Print the state of a channel's releases, as plain values or as lines of text."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketrec_bundle.errors import InputError

if TYPE_CHECKING:
    from pocketrec_bundle.settings.rollout import RolloutPolicy


def read(repo: Path, channel: str, database: str = "") -> dict[str, Any]:
    """Read policy, halts and, with a database, the outcomes that devices reported.

    Raises:
        RepositoryInvalidError: nothing is published, or metadata is damaged.
        InputError: the channel or the named database does not exist.
        DatabaseInvalidError: the named database cannot be read.
    """
    from pocketrec_server.halting.release_limits import read_guardrails
    from pocketrec_server.repository.publish import read_first_percent, read_halts, read_policy

    policy, halts = read_policy(repo, channel), read_halts(repo, channel)
    health, lacking, looks = _reported(repo, channel, database, policy)
    stages = policy.to_json()["releases"]
    now = time.time()
    for stage, each in zip(stages, policy.releases, strict=True):
        stage["percent_now"] = each.percent_at(now)
        stage["halted"] = halts.reason(stage["manifest"])
        stage["health"] = health.get(stage["manifest"])
        stage["halting_lacks"] = lacking.get(stage["manifest"])
        stage["looks"] = looks.get(stage["manifest"], [])
    return {
        "channel": channel,
        "releases": stages,
        "first_percent": read_first_percent(repo, channel),
        "guardrails": json.loads(read_guardrails(repo, channel).to_bytes()),
        "sync": policy.to_json()["sync"],
    }


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a channel: its releases, newest first, and when devices sync."""
    head = ("release", "manifest", "state", "devices", "told", "failed", "for")
    rows = [head, *(_row(stage) for stage in found["releases"])]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()
    for stage in found["releases"]:
        if stage["halted"] is not None:
            yield f"{stage['name']} is halted: {stage['halted']}"
        if stage["halting_lacks"] is not None:
            yield f"{stage['name']}: {stage['halting_lacks']}"
        for look in stage["looks"]:
            yield f"{stage['name']}: {look}"
        if stage["health"] and (n := stage["health"]["app_too_old"]):
            yield f"{stage['name']}: {n} devices need a newer app"
    for one in found["guardrails"]["guardrails"]:
        worse = f"{one['metric']} is {one['worse_by'] * 100:g}% worse"
        yield f"releases are halted if {worse} than in earlier ones, alpha {one['alpha']:g}"
    if found["first_percent"] < 100:
        yield f"publish starts at {found['first_percent']:g}% of the devices"
    yield f"devices sync {_when(found['sync'])}"


def _row(stage: dict[str, Any]) -> tuple[str, ...]:
    health = stage["health"]
    state = "halted" if stage["halted"] is not None and stage["state"] == "active" else None
    return (
        stage["name"],
        stage["manifest"][:12],
        state or stage["state"],
        f"{stage['percent_now']:g}%",
        str(health["told"]) if health else "-",
        str(health["failed"]) if health else "-",
        _rules(stage),
    )


def _rules(stage: dict[str, Any]) -> str:
    app, limit = stage["app"], stage["most_failures"]
    rules = [
        *(f"{percent:g}% from {_moment(begins)}" for begins, percent in stage["ramp"]),
        app["least"] and f"app from {app['least']}",
        app["below"] and f"app before {app['below']}",
        stage["device_classes"] and f"class {' or '.join(stage['device_classes'])}",
        stage["from_utc"] and f"from {_moment(stage['from_utc'])}",
        stage["until_utc"] is not None and f"until {_moment(stage['until_utc'])}",
        limit and f"halts above {limit['share'] * 100:g}% in {limit['of']} networks",
    ]
    return ", ".join(rule for rule in rules if rule) or "all"


def _when(sync: dict[str, Any]) -> str:
    quiet = sync["quiet_hours"]
    rules = [
        f"every {sync['every_s']} to {sync['every_s'] + sync['spread_s']} s",
        "unmetered" if sync["unmetered"] else "on any network",
        sync["charging"] and "charging",
        quiet and f"not from {quiet[0]:02}:00 to {quiet[1]:02}:00",
    ]
    return ", ".join(rule for rule in rules if rule)


def _moment(utc: int) -> str:
    return datetime.fromtimestamp(utc, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _reported(
    repo: Path, channel: str, database: str, policy: "RolloutPolicy"
) -> tuple[dict[str, dict[str, int]], dict[str, str | None], dict[str, list[str]]]:
    """Return by release: outcomes, missing conditions of its automatic halt, and latest looks."""
    from pocketrec_server.halting.circuit_breaker import lacks
    from pocketrec_server.halting.outcomes import healths
    from pocketrec_server.halting.release_guard import looks_at
    from pocketrec_server.repository.place import DATABASE_NAME
    from pocketrec_server.storage.database import default_url, is_there, open_database

    if not database and not (repo / DATABASE_NAME).exists():
        return {}, {}, {}
    if database and not is_there(database):
        raise InputError(f"{database}: no such database. A server makes it when it starts.")
    engine = open_database(database or default_url(repo))
    try:
        found = healths(engine, channel)
        lacking = {s.manifest: lacks(engine, channel, s) for s in policy.releases}
        looks = {s.manifest: looks_at(repo, engine, channel, s) for s in policy.releases}
    finally:
        engine.dispose()
    told = {
        manifest: asdict(health) | {"told": health.told, "failed": health.failed}
        for manifest, health in found.items()
    }
    return told, lacking, looks
