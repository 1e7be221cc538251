"""Releases that are out there: today's reader opens one of each version and answers as it did then.

`data/v1` is a release of version 1 and `data/v1.json` what was answered from it when it was made.
None of them is ever written again: if one of these tests fails, devices that hold such a release
fail too.
"""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketrec_bundle.candidates import extra_candidates
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.features import tower_inputs, used_rows
from pocketrec_bundle.golden.vectors import Golden
from pocketrec_bundle.neighbours import Neighbours, votes_of
from pocketrec_bundle.ranker_features import ItemColumns, Request, ranker_features
from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_edge.recommend.index import Index, search
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.policy_rerank import rerank
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.releases.golden_history import golden_history

DATA = Path(__file__).parent / "data"


def answers(bundle: Bundle) -> dict[str, Any]:
    """What a device takes from a release, up to the models: their inputs, and what is without."""
    golden, spec = Golden.of(bundle), bundle.spec
    index, neighbours = Index.of(bundle), Neighbours.of(bundle)
    columns = ItemColumns(bundle.categories, bundle.numeric, neighbours)
    query = np.linspace(-1, 1, spec.dim, dtype=np.float32)
    withdrawn = ~bundle.available
    ids = [bundle.item_id(row) for row in range(bundle.item_count)]
    found: dict[str, Any] = {
        "manifest": dataclasses.asdict(bundle.manifest),
        "ids": ids,
        "rows": [bundle.row_of(item_id) for item_id in [*ids, "no such item"]],
        "catalogue": [dataclasses.astuple(item) for item in bundle.catalogue([2, 0, 99])],
        "spec": spec.to_json(),
        "policy": bundle.policy.to_json(),
        "golden": golden.to_json(),
    }
    for case in golden.cases:
        history, now = golden_history(bundle, case), case.now_utc
        rows, scores = search(index, query, spec.candidates, bundle.policy.probes, withdrawn)
        vectors, past = index.vectors(rows), index.vectors(used_rows(spec, history))
        votes = votes_of(neighbours, spec, history)
        request = Request(history, now, query[None], past, votes)
        slate = Recommender(bundle).recommend(Query(history, now))
        found[case.name] = {
            "retrieved": rows.tolist(),
            "scores": scores.tolist(),
            "extra": extra_candidates(spec, votes, history, now, withdrawn).tolist(),
            "tower": {k: v.tolist() for k, v in tower_inputs(spec, history, past, now).items()},
            "ranker": {
                k: v.tolist()
                for k, v in ranker_features(spec, columns, request, rows, vectors).items()
            },
            "order": rerank(bundle.policy, scores, vectors, columns.categories[rows][:, 0], 5),
            "fallback": [(item.item_id, item.title, item.score) for item in slate.items],
        }
    return json.loads(json.dumps(found))


def assert_same(found, wanted, where="answers"):
    """Equal in every part; fractions within float32."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys(), where
        for key, value in wanted.items():
            assert_same(found[key], value, f"{where}.{key}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), where
        for at, value in enumerate(wanted):
            assert_same(found[at], value, f"{where}[{at}]")
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, rel=1e-5, abs=1e-6), where
    else:
        assert found == wanted, where


VERSIONS = pytest.mark.parametrize("kept", ["v1", "v2"])


def kept_answers(kept: str) -> dict[str, Any]:
    return json.loads((DATA / f"{kept}.json").read_bytes())


@pytest.fixture
def copy(tmp_path, kept) -> Path:
    return Path(shutil.copytree(DATA / kept, tmp_path / kept))


@VERSIONS
def test_a_kept_release_is_answered_from_as_it_was(kept):
    assert_same(answers(open_bundle(DATA / kept)), kept_answers(kept))


@VERSIONS
def test_files_of_other_names_and_kinds_change_nothing(copy, kept, resign, edit_manifest):
    resign(copy, {"items/embeddings.v2": b"anything", "readme.txt": b""})

    def new_kind(manifest):
        entry = next(e for e in manifest["files"] if e["name"] == "readme.txt")
        entry |= {"kind": "leaflet", "meta": {"new_fact": 1}}

    edit_manifest(copy, new_kind)
    wanted, found = kept_answers(kept), answers(open_bundle(copy))
    assert len(found.pop("manifest")["files"]) == len(wanted.pop("manifest")["files"]) + 2
    assert_same(found, wanted)


@VERSIONS
@pytest.mark.parametrize("version", [0, 4, 2**63, 1.0, "1", True, None])
def test_another_format_version_says_to_update_the_app(copy, edit_manifest, version):
    edit_manifest(copy, lambda manifest: manifest.update(format_version=version, new_key={}))
    with pytest.raises(BundleInvalidError, match=r"format version .*knows 1 to 3\. Update the app"):
        open_bundle(copy)


@VERSIONS
def test_a_release_that_says_the_other_version_is_refused(copy, kept, edit_manifest):
    edit_manifest(copy, lambda manifest: manifest.update(format_version=3 - int(kept[1])))
    with pytest.raises(BundleInvalidError, match="has no file"):
        open_bundle(copy)


@VERSIONS
@pytest.mark.parametrize("name", ["feature_spec.json", "policy.json", "golden.json"])
@pytest.mark.parametrize("change", ["new key", "lost key", "next version"])
def test_what_a_json_file_has_no_word_for_is_refused(copy, resign, name, change):
    value = open_bundle(copy).json(name)
    if change == "lost key":
        del value["version"]
    else:
        value |= {"a_new_key": 1} if change == "new key" else {"version": 2}
    resign(copy, {name: json.dumps(value).encode()})
    with pytest.raises(BundleInvalidError, match=name):
        Golden.of(open_bundle(copy))


@VERSIONS
def test_a_key_that_the_manifest_lacks_is_refused(copy, edit_manifest):
    edit_manifest(copy, lambda manifest: manifest["files"][0].update(compression="zstd"))
    with pytest.raises(BundleInvalidError, match="unknown"):
        open_bundle(copy)
