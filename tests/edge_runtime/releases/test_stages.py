from dataclasses import replace

import numpy as np
import pytest

from pocketrec_bundle.encoding.arrays import encode_array
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.golden.vectors import Golden
from pocketrec_bundle.manifest import Manifest
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.rules import Mmr, Rules
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.releases.stages import FIRST, check_stages, read_stages, record, shapes

ORDER = [
    "history_rows",
    "history_events",
    "history_ages_s",
    "history_length",
    "user_vector",
    "candidate_scores",
    "context",
    "pair",
    "probabilities",
]


@pytest.fixture
def golden(release: Bundle) -> Golden:
    return Golden.of(release)


@pytest.fixture
def expected(release: Bundle, golden: Golden):
    stages = read_stages(release, golden)
    assert stages is not None
    return {name: np.array(array) for name, array in stages.items()}


@pytest.mark.parametrize("engine", ["litert", "onnx"])
def test_every_stage_of_a_release_holds_in_order(release, golden, expected, engine):
    checks = check_stages(Recommender(release, engine), golden, expected)
    assert [check.stage for check in checks] == ORDER
    assert all(check.passed and not check.note for check in checks)


def test_recorded_stages_are_those_of_the_request(release, golden, expected):
    case = golden.cases[1]
    rows = [release.row_of(item_id) for item_id in case.item_ids]
    n = len(rows)
    assert expected["history_length"].tolist() == [0, n]
    assert expected["history_rows"][1].tolist() == [*rows, *[-1] * (8 - n)]
    assert expected["history_events"][1][:n].tolist() == [1 + event for event in case.events]
    assert expected["history_ages_s"][1][:n].tolist() == [case.now_utc - ts for ts in case.ts]
    assert expected["candidates"][1].tolist() == list(case.candidates[:FIRST])
    vectors = release.array("index/rows") * release.scales[np.arange(300)][:, None]
    scores = vectors[expected["candidates"][1]] @ np.array(case.user_vector, np.float32)
    assert np.allclose(scores, expected["candidate_scores"][1], rtol=1e-5)
    assert (np.diff(expected["candidate_scores"][1]) <= 0).all()


@pytest.mark.parametrize("stage", ORDER)
def test_a_stage_that_differs_is_named_and_the_others_still_hold(release, golden, expected, stage):
    spoilt = dict(expected)
    spoilt[stage] = spoilt[stage] + np.ones(1, spoilt[stage].dtype)
    checks = check_stages(Recommender(release, "litert"), golden, spoilt)
    wrong = [check for check in checks if not check.passed]
    # The ranker starts from the expected context and pair, so it differs too where these do.
    assert {check.stage for check in wrong} - {"probabilities"} | {stage} == {stage}
    assert stage in {check.stage for check in wrong}
    assert all(check.note.startswith("golden case") for check in wrong)


def test_a_client_that_forgets_to_leave_out_the_seen_fails_at_retrieval(
    release, golden, expected, monkeypatch
):
    device = Recommender(release, "litert")
    monkeypatch.setattr(device, "excluded", lambda _history: np.zeros(300, np.bool_))
    first = next(check for check in check_stages(device, golden, expected) if not check.passed)
    assert first.stage == "candidate_scores"


def test_a_release_from_before_has_no_stages(release, golden):
    files = tuple(e for e in release.manifest.files if not e.name.startswith("golden/"))
    older = Bundle(replace(release.manifest, files=files), release.path("policy.json").parent)
    assert read_stages(older, golden) is None


def test_the_slate_that_rules_make_is_a_stage_of_its_own(release, golden):
    release.rules = Rules(rules=(Mmr(relevance=0.3),), depth=50)
    device = Recommender(release, "litert")
    recorded = record(device, golden)
    slate, candidates = recorded["slate"][1], recorded["candidates"][1]
    assert (slate[:10] >= 0).all() and (slate[10:] == -1).all()
    assert set(slate[:10].tolist()) < set(candidates.tolist())
    assert [check.stage for check in check_stages(device, golden, recorded)] == [*ORDER, "slate"]
    release.rules = Rules(rules=(Mmr(relevance=0.9),), depth=50)
    wrong = [check for check in check_stages(device, golden, recorded) if not check.passed]
    assert [check.stage for check in wrong] == ["slate"]


@pytest.mark.parametrize(
    ("stage", "array"),
    [
        ("pair", np.zeros((2, FIRST, 3), np.float32)),
        ("context", np.zeros((3, 11), np.float32)),
        ("history_length", np.zeros(2, np.int64)),
        ("candidates", np.full((2, FIRST), 300, np.int32)),
        ("history_rows", np.full((2, 8), -2, np.int32)),
    ],
)
def test_stages_that_do_not_fit_the_release_are_refused(release, golden, stage, array, tmp_path):
    import hashlib
    import shutil

    data = encode_array(array)
    folder = tmp_path / "files"
    shutil.copytree(release.path("policy.json").parent, folder)
    sha256 = hashlib.sha256(data).hexdigest()
    (folder / sha256).write_bytes(data)
    files = tuple(
        replace(e, sha256=sha256, bytes=len(data)) if e.name == f"golden/{stage}" else e
        for e in release.manifest.files
    )
    manifest: Manifest = replace(release.manifest, files=files)
    with pytest.raises(BundleInvalidError, match=f"golden/{stage}"):
        read_stages(Bundle(manifest, folder), golden)


def test_shapes_name_every_stage(release, golden, expected):
    assert list(expected) == list(shapes(release.spec, 2))
    assert {*ORDER, "candidates"} == set(expected)
