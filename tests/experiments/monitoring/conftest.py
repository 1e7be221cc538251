"""An export by hand, and a bundle whose model card has reference distributions."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.reference import KEY, reference_of
from pocketrec_bundle.units import DAY_S

FIRST_DAY = 20_000
TABLES = ("requests", "impressions", "interactions")


class Export:
    """Rows of an export; `day` counts from the first day, `at` is the second of the day."""

    def __init__(self, write_tables) -> None:
        self.rows: dict[str, list[dict]] = {kind: [] for kind in TABLES}
        self._write = write_tables

    def request(self, user, name, release, day=0, at=0, source="model", ms=10.0, faults=()):
        self._add("requests", user, day, at, request_id=name, release=release, source=source)
        self.rows["requests"][-1] |= {"ms": ms, "faults": list(faults)}

    def impression(self, user, name, item, day=0, at=0, score=None, sponsored=None, source=None):
        self._add("impressions", user, day, at, request_id=name, item_id=item, score=score)
        self.rows["impressions"][-1] |= {"sponsored": sponsored, "source": source}

    def interaction(self, user, item, day=0, at=0, event="like", request=None):
        self._add("interactions", user, day, at, item_id=item, event=event, request_id=request)

    def _add(self, kind, user, day, at, **row):
        self.rows[kind].append({"user_id": user, "ts": (FIRST_DAY + day) * DAY_S + at} | row)

    def write(self, folder: Path) -> Path:
        return self._write(folder, self.rows)


@pytest.fixture
def export(write_tables):
    return Export(write_tables)


@pytest.fixture
def with_card(tiny_release, tmp_path):
    """Return a function: model card -> a copy of the tiny bundle with it."""

    def make(card):
        folder = tmp_path / "bundle"
        shutil.copytree(tiny_release, folder)
        data = canonical_json(card)
        sha = hashlib.sha256(data).hexdigest()
        (folder / "files" / sha).write_bytes(data)
        manifest = json.loads((folder / "manifest.json").read_bytes())
        for entry in manifest["files"]:
            if entry["name"] == "model_card.json":
                entry |= {"bytes": len(data), "sha256": sha}
        (folder / "manifest.json").write_bytes(canonical_json(manifest))
        return folder

    return make


@pytest.fixture
def reference(tiny_release):
    """Of training data in which each item of the tiny bundle had ten interactions."""
    bundle = open_bundle(tiny_release)
    rows = np.arange(bundle.item_count)
    return reference_of(
        spec=bundle.spec,
        events=np.array([0] * 400 + [1] * 80),
        item_counts=np.full(bundle.item_count, 10),
        categories=np.asarray(bundle.categories[rows]),
        numeric=np.asarray(bundle.numeric[rows], np.float64),
        scores=np.linspace(0, 1, 1000),
        until_utc=FIRST_DAY * DAY_S - 10 * DAY_S,
    )


@pytest.fixture
def bundle(with_card, reference):
    return with_card({KEY: reference.to_json()})
