"""Read when the signed metadata of a repository expires; devices reject it afterwards."""

import json
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any


def expiries(repo: Path) -> dict[str, int]:
    """Return when each role's newest metadata expires, unix seconds; empty without a repository."""
    folder = repo / "metadata"
    try:
        stamp = _signed(folder / "timestamp.json")
        expires_utc = {"timestamp": _expires(stamp)}
        meta = stamp["meta"]["snapshot.json"]
        snapshot = _numbered(folder, meta["version"], "snapshot")
        expires_utc["snapshot"] = _expires(snapshot)
        for name, meta in snapshot["meta"].items():
            role = name.removesuffix(".json")
            expires_utc[role] = _expires(_numbered(folder, meta["version"], role))
        roots = [int(path.name.partition(".")[0]) for path in folder.glob("[0-9]*.root.json")]
        expires_utc["root"] = _expires(_numbered(folder, max(roots), "root"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return expires_utc


def _signed(path: Path) -> dict[str, Any]:
    signed: dict[str, Any] = json.loads(path.read_bytes())["signed"]
    return signed


def _numbered(folder: Path, version: int, role: str) -> dict[str, Any]:
    return _immutable(folder / f"{int(version)}.{role}.json")


@lru_cache(maxsize=64)
def _immutable(path: Path) -> dict[str, Any]:
    """Read numbered metadata, which never changes."""
    signed = _signed(path)
    return {key: signed[key] for key in ("expires", "meta", "version") if key in signed}


def _expires(signed: dict[str, Any]) -> int:
    return int(datetime.fromisoformat(signed["expires"]).timestamp())
