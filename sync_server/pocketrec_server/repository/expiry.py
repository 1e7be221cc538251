"""Until when the signed metadata of a repository is good; past it no phone believes it."""

import json
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any


def expiries(repo: Path) -> dict[str, int]:
    """Unix seconds at which each role's newest metadata expires; empty: nothing is published."""
    folder = repo / "metadata"
    try:
        stamp = _signed(folder / "timestamp.json")
        found = {"timestamp": _expires(stamp)}
        meta = stamp["meta"]["snapshot.json"]
        snapshot = _numbered(folder, meta["version"], "snapshot")
        found["snapshot"] = _expires(snapshot)
        for name, meta in snapshot["meta"].items():
            role = name.removesuffix(".json")
            found[role] = _expires(_numbered(folder, meta["version"], role))
        roots = [int(path.name.partition(".")[0]) for path in folder.glob("[0-9]*.root.json")]
        found["root"] = _expires(_numbered(folder, max(roots), "root"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return found


def _signed(path: Path) -> dict[str, Any]:
    signed: dict[str, Any] = json.loads(path.read_bytes())["signed"]
    return signed


def _numbered(folder: Path, version: int, role: str) -> dict[str, Any]:
    return _immutable(folder / f"{int(version)}.{role}.json")


@lru_cache(maxsize=64)
def _immutable(path: Path) -> dict[str, Any]:
    """Numbered metadata is written once."""
    signed = _signed(path)
    return {key: signed[key] for key in ("expires", "meta", "version") if key in signed}


def _expires(signed: dict[str, Any]) -> int:
    return int(datetime.fromisoformat(signed["expires"]).timestamp())
