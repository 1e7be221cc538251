"""The page of a release: models, gates, sizes, quality, differences, and who did what.

Quality and gates come from `model_card.json`, which the release itself carries: the manifest's hash
proves it. Cards of older versions lack keys, so each value is read by itself, and may be missing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Blueprint, abort, request
from sqlalchemy import Engine

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.manifest import Manifest
from pocketrec_bundle.settings.rollout import CHANNEL, SHA256
from pocketrec_server.admin import comparison
from pocketrec_server.admin.formatting import moment, size
from pocketrec_server.admin.pages import Row, rows_of
from pocketrec_server.admin.services import services
from pocketrec_server.admin.statistics import window
from pocketrec_server.http.openapi import described
from pocketrec_server.repository import state
from pocketrec_server.repository.channel import Channel
from pocketrec_server.repository.history import Change, policy_history

MOST_GATES = 200
_FACTS = {"channel": {"type": "string", "pattern": f"^{CHANNEL.pattern}$"}} | {
    "manifest": {"type": "string", "pattern": f"^{SHA256.pattern}$"}
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a page shows of a model card.

    Attributes:
        quality: (name, value) facts about the training and its results.
        shipped: models of each target: target, engine, models, size, result of the gates.
        gates: checks of the shipped models: target, model, check, value, limit, result.
        n_other: checks of models that did not ship.
    """

    quality: list[tuple[str, str]]
    shipped: list[dict[str, str]]
    gates: list[dict[str, str]]
    n_other: int


def add(routes: Blueprint) -> None:
    """Add the page to the site."""
    routes.get("/releases/<channel>/<manifest>")(release)


@described(
    "One release: models, gates, sizes, quality, differences and history.",
    tag="site",
    ok="text/html",
    path=_FACTS,
    query={"days": {"enum": [7, 30, 90]}},
    more={303: "Log in first."},
    pages=(400, 404, 503),
)
def release(channel: str, manifest: str) -> str:
    """Show one release of a channel."""
    shared, days = services(), window(request.args.get("days"))
    try:
        content = read(shared.repo, shared.engine, channel, manifest, days)
    except InputError as err:
        abort(404, str(err))
    return shared.pages.show("release", days=days, **content)


def read(repo: Path, engine: Engine, channel: str, manifest: str, days: int) -> dict[str, Any]:
    """Return the content of the page.

    Raises:
        InputError: the channel is unknown, or has no such release now.
        RepositoryInvalidError: the repository is missing or damaged.
    """
    current = state.load(repo)
    of_channel = Channel(repo, current, channel)
    stages = of_channel.policy().releases
    n = next((n for n, stage in enumerate(stages) if stage.manifest == manifest), None)
    if n is None:
        raise InputError(f"{channel} has no release {manifest[:12]} now. Releases lists all.")
    now = of_channel.manifest(stages[n])
    old = of_channel.manifest(stages[n + 1]) if n + 1 < len(stages) else None
    row: Row = rows_of(repo, engine, channel, days)[n]
    settings, n_settings = comparison.settings(repo, now, old) if old else ([], 0)
    return {
        "channel": channel,
        "row": row,
        "recipe": now.recipe_name,
        "card": read_card(comparison.read_json(repo, now, comparison.CARD), now),
        "models": [entry for entry in now.files if entry.kind == "model"],
        "parts": comparison.parts(now, old),
        "previous": stages[n + 1] if old else None,
        "previous_card": read_card(comparison.read_json(repo, old, comparison.CARD), old)
        if old
        else None,
        "kind": comparison.kind_of(now, old) if old else "",
        "removed": comparison.removed(now, old) if old else [],
        "settings": settings,
        "n_settings": n_settings,
        "changes": _changes(repo, channel, manifest),
    }


def read_card(card: dict[str, Any] | None, manifest: Manifest) -> Card:
    """Read the facts of a model card; missing or malformed values are left out."""
    value = card or {}
    export, training, data = (_object(value.get(key)) for key in ("export", "training", "data"))
    shipped, every = _objects(export.get("shipped")), _objects(export.get("gates"))
    chosen = {(_text(row.get("target")), *model) for row in shipped for model in _models_of(row)}
    gates = [
        row
        for row in every
        if tuple(_text(row.get(key)) for key in ("target", "model", "variant")) in chosen
    ]
    final = _object(value.get("final"))
    facts = [
        ("Ranker", _text(training.get("ranker_gain"))),
        ("Baselines", _text(export.get("baseline_gain"))),
        ("NDCG@10 of the towers, validation", _text(training.get("valid_ndcg10"))),
        ("Fit", _text(value.get("fit"))),
        ("Epochs", _text(final.get("epochs") or training.get("epochs"))),
        ("Seed", _text(training.get("seed"))),
        ("Data set", _text(data.get("dataset"))),
        ("Licence", _text(data.get("licence"))),
        ("Interactions", _text(data.get("interactions"))),
        ("Users", _text(data.get("users"))),
        ("Items", _text(export.get("items"))),
        ("Golden cases", _text(export.get("golden_cases"))),
        ("Size", size(manifest.total_bytes())),
        ("Data until", moment(manifest.created_utc)),
    ]
    return Card(
        quality=[(name, text) for name, text in facts if text],
        shipped=[_shipped(row) for row in shipped],
        gates=[_gate(row) for row in sorted(gates, key=_is_good)[:MOST_GATES]],
        n_other=len(every) - len(gates),
    )


def _changes(repo: Path, channel: str, manifest: str) -> list[Change]:
    """Return the signed changes of a release, newest first."""
    return [one for one in policy_history(repo, channel) if one.manifest == manifest]


def _models_of(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Return model and variant of what a target ships, as the gates name them."""
    tower, ranker = _text(row.get("user_tower")), _text(row.get("ranker"))
    return [("user_tower", tower), ("ranker", ranker), ("both", f"{tower} + {ranker}")]


def _shipped(row: dict[str, Any]) -> dict[str, str]:
    passed = row.get("passed") is True
    warned = "passed, with a warning" if row.get("warned") is True else "passed"
    n_bytes = row.get("models_bytes")
    return {
        "target": _text(row.get("target")),
        "engine": _text(row.get("engine")),
        "models": _models_of(row)[-1][1],
        "size": size(n_bytes) if isinstance(n_bytes, int) else "",
        "result": warned if passed else "refused, shipped with --force",
        "css": "" if passed else "bad",
    }


def _gate(row: dict[str, Any]) -> dict[str, str]:
    passed, warned = row.get("passed") is True, row.get("warned") is True
    return {
        "target": _text(row.get("target")),
        "model": f"{_text(row.get('model'))} {_text(row.get('variant'))}",
        "check": _text(row.get("check")),
        "value": _text(row.get("value")),
        "limit": _text(row.get("limit")),
        "result": "warned" if warned else "passed" if passed else "failed",
        "css": "" if passed and not warned else "bad",
    }


def _is_good(row: dict[str, Any]) -> bool:
    return row.get("passed") is True and row.get("warned") is not True


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    """Format a value of the card; "" if it is neither a text nor a number."""
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.5g}"
    return value if isinstance(value, str) else ""
