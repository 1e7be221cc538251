import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_edge.releases.selftest import replay
from pocketrec_export.errors import GateRefusedError
from pocketrec_export.golden import answers as golden
from pocketrec_export.items.catalogue import update_catalogue

CHANGES = {
    "add": [{"item_id": "i99", "title": "Film new", "categories": ["war"], "year": 2001}],
    "withdraw": ["i07"],
    "change": [{"item_id": "i03", "title": "Film i03, restored", "price": 4.5}],
}


@pytest.fixture(scope="module")
def changed(bundle_dir: Path, run_dir: Path, tmp_path_factory) -> Bundle:
    folder = tmp_path_factory.mktemp("catalogue")
    (folder / "changes.json").write_text(json.dumps(CHANGES))
    update_catalogue(bundle_dir, folder / "changes.json", run_dir, folder / "next")
    return open_bundle(folder / "next")


def test_known_items_keep_vector_bytes_cell_and_order(changed: Bundle, bundle_dir: Path):
    base = open_bundle(bundle_dir)
    rows = np.array([changed.row_of(base.item_id(row)) for row in range(base.item_count)])
    assert (np.diff(rows) > 0).all()
    assert (changed.array("index/rows")[rows] == base.array("index/rows")).all()
    assert (changed.scales[rows] == base.scales[:]).all()
    assert (changed.array("index/centroids") == base.array("index/centroids")).all()
    cells = [
        np.repeat(np.arange(4), np.diff(each.array("index/offsets"))) for each in (base, changed)
    ]
    assert (cells[1][rows] == cells[0]).all()


def test_models_spec_and_policy_are_the_same_files(changed: Bundle, bundle_dir: Path):
    base = open_bundle(bundle_dir)
    for entry in base.manifest.files:
        if entry.kind == "model" or entry.name in (
            "feature_spec.json",
            "policy.json",
            "rules.json",
        ):
            assert changed.manifest.entry(entry.name) == entry


def test_changes_are_in_the_columns_and_the_catalogue(changed: Bundle):
    new, gone, touched = (changed.row_of(i) for i in ("i99", "i07", "i03"))
    assert not changed.available[gone]
    assert changed.available.sum() == 40
    assert gone not in changed.array("items/popular")
    assert changed.cohorts is not None
    assert gone not in changed.cohorts.rows
    added, restored = changed.catalogue([new, touched])
    assert (added.title, added.categories, added.year) == ("Film new", "war", 2001)
    assert (restored.title, restored.price, restored.year) == ("Film i03, restored", 4.5, 1963)
    assert changed.numeric[new].tolist() == [0, 2001, -1]
    assert 124 <= np.abs(changed.array("index/rows")[new]).max() <= 127  # a step of scales is 2.2%


def test_a_withdrawn_item_comes_back_when_it_is_restored_and_only_then(
    changed: Bundle, bundle_dir: Path, run_dir: Path, tmp_path: Path
):
    base = changed.path("policy.json").parent.parent
    step = tmp_path / "c.json"
    step.write_text('{"add": [{"item_id": "i07", "title": "again"}]}')
    with pytest.raises(InputError, match="use restore"):
        update_catalogue(base, step, run_dir, tmp_path / "next")
    step.write_text('{"change": [{"item_id": "i07", "title": "Film i07, new copy"}]}')
    update_catalogue(base, step, run_dir, tmp_path / "edited")
    edited = open_bundle(tmp_path / "edited")
    row = edited.row_of("i07")
    assert not edited.available[row]
    step.write_text('{"restore": ["i07"]}')
    with pytest.raises(InputError, match="release name"):
        update_catalogue(tmp_path / "edited", step, run_dir, tmp_path / "no", name="two\nlines")
    report = update_catalogue(
        tmp_path / "edited", step, run_dir, tmp_path / "restored", name="Film i07 is back"
    )
    assert (report.restored, report.name) == (1, "Film i07 is back")
    restored, first = open_bundle(tmp_path / "restored"), open_bundle(bundle_dir)
    assert restored.manifest.name == "Film i07 is back"
    assert restored.available[row]
    assert row in restored.array("items/popular")
    assert restored.cohorts is not None
    assert row in restored.cohorts.rows
    assert restored.catalogue([row])[0].title == "Film i07, new copy"
    same = np.asarray(first.array("index/rows"))[first.row_of("i07")]
    assert (restored.array("index/rows")[row] == same).all()


@pytest.fixture(scope="module")
def compacted(bundle_dir: Path, run_dir: Path, tmp_path_factory):
    """A release whose last tenth too many was withdrawn, and its report."""
    folder = tmp_path_factory.mktemp("compacted")
    gone = "".join(f'{{"withdraw": "i{n:02d}"}}\n' for n in range(9))
    (folder / "changes.jsonl").write_text(gone)
    report = update_catalogue(bundle_dir, folder / "changes.jsonl", run_dir, folder / "next")
    return folder / "next", report


def test_withdrawn_rows_leave_every_file_once_they_are_many(compacted, bundle_dir: Path):
    report, bundle, base = compacted[1], open_bundle(compacted[0]), open_bundle(bundle_dir)
    assert (report.compacted, report.removed, report.items, report.withdrawn) == (True, 9, 31, 9)
    assert bundle.item_count == 31
    assert bundle.available.all()
    assert [bundle.row_of(f"i{n:02d}") for n in range(9)] == [-1] * 9
    assert len(bundle.catalogue(list(range(40)))) == 31
    rows = [base.row_of(bundle.item_id(row)) for row in range(31)]
    assert (np.diff(rows) > 0).all()
    every = np.arange(31)
    assert (bundle.array("index/rows") == base.array("index/rows")[rows]).all()
    for name in ("scales", "numeric", "categories"):
        assert (getattr(bundle, name)[every] == getattr(base, name)[np.array(rows)]).all()
    assert (bundle.array("index/centroids") == base.array("index/centroids")).all()
    assert bundle.json("model_card.json")["removed"] == 9


@pytest.mark.parametrize("engine", ["litert", "onnx"])
def test_golden_requests_with_removed_items_are_answered_anew(compacted, engine):
    bundle = open_bundle(compacted[0])
    assert replay(bundle, engine) == 6
    cases = bundle.json("golden.json")["cases"]
    gone = {f"i{n:02d}" for n in range(9)}
    assert any(gone & set(case["item_ids"]) for case in cases)
    assert not any(gone & set(case["slate_ids"]) for case in cases)


def test_a_removed_item_is_added_anew_and_gets_the_vector_that_training_gave_it(
    compacted, bundle_dir: Path, run_dir: Path, tmp_path: Path
):
    step = tmp_path / "c.json"
    step.write_text('{"restore": ["i07"]}')
    with pytest.raises(InputError, match="add it again"):
        update_catalogue(compacted[0], step, run_dir, tmp_path / "next")
    step.write_text('{"add": [{"item_id": "i07", "title": "Film i07"}]}')
    update_catalogue(compacted[0], step, run_dir, tmp_path / "next")
    again, base = open_bundle(tmp_path / "next"), open_bundle(bundle_dir)
    one, two = again.row_of("i07"), base.row_of("i07")
    assert (again.array("index/rows")[one] == base.array("index/rows")[two]).all()
    assert again.scales[np.array([one])] == base.scales[np.array([two])]


def test_new_content_moves_the_vector_of_an_item_known_by_content_alone(
    changed: Bundle, run_dir: Path, tmp_path: Path
):
    base = changed.path("policy.json").parent.parent
    lines = [
        {"change": {"item_id": "i99", "title": "Another film", "categories": ["crime"]}},
        {"change": {"item_id": "i03", "categories": ["crime"]}},
    ]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, lines)))
    update_catalogue(base, tmp_path / "c.jsonl", run_dir, tmp_path / "next")
    after = open_bundle(tmp_path / "next")
    rows, old = np.asarray(after.array("index/rows")), np.asarray(changed.array("index/rows"))
    ids = [changed.item_id(row) for row in range(changed.item_count)]
    moved = [
        item_id
        for row, item_id in enumerate(ids)
        if (rows[after.row_of(item_id)] != old[row]).any()
    ]
    assert moved == ["i99"]


def test_equal_inputs_give_equal_bytes(changed: Bundle, bundle_dir, run_dir, tmp_path, run_python):
    (tmp_path / "changes.json").write_text(json.dumps(CHANGES))
    code = (
        "from pathlib import Path\n"
        "from pocketrec_export.items.catalogue import update_catalogue\n"
        f"update_catalogue(Path({str(bundle_dir)!r}), Path({str(tmp_path / 'changes.json')!r}), "
        f"Path({str(run_dir)!r}), Path({str(tmp_path / 'next')!r}))"
    )
    done = run_python(code, PYTHONHASHSEED="77")
    assert done.returncode == 0, done.stderr
    assert open_bundle(tmp_path / "next").manifest == changed.manifest


@pytest.mark.parametrize("engine", ["litert", "onnx"])
def test_new_golden_vectors_hold_and_never_show_the_withdrawn(changed: Bundle, engine):
    assert replay(changed, engine) == 6
    cases = changed.json("golden.json")["cases"]
    assert all("i07" not in case["slate_ids"] for case in cases)


def test_the_card_names_base_and_changes(changed: Bundle):
    card = changed.json("model_card.json")
    assert card["changes"] == {"add": 1, "change": 1, "withdraw": 1, "restore": 0}
    assert len(card["export"]["files"]) == 12
    assert changed.manifest.name in changed.read("model_card.md").decode()


def test_the_run_of_another_release_is_refused(
    bundle_dir: Path, repeats_run_dir: Path, tmp_path: Path
):
    (tmp_path / "c.json").write_text(json.dumps(CHANGES))
    with pytest.raises(InputError, match="not the run"):
        update_catalogue(bundle_dir, tmp_path / "c.json", repeats_run_dir, tmp_path / "next")
    assert [p.name for p in tmp_path.iterdir()] == ["c.json"]


def test_files_that_disagree_on_most_golden_slates_refuse_the_new_catalogue(
    bundle_dir: Path, run_dir: Path, tmp_path: Path, monkeypatch
):
    (tmp_path / "c.json").write_text(json.dumps(CHANGES))
    monkeypatch.setattr(golden, "_holds", lambda *_: False)
    with pytest.raises(GateRefusedError):
        update_catalogue(bundle_dir, tmp_path / "c.json", run_dir, tmp_path / "next")
    assert [p.name for p in tmp_path.iterdir()] == ["c.json"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ('{"ad": []}', "object"),
        ('{"withdraw": ["nobody"]}', "nobody"),
        ('{"change": [{"item_id": "nobody"}]}', "nobody"),
        ('{"add": [{"item_id": "i01", "title": "twice"}]}', "i01"),
        ('{"add": [{"item_id": "n1", "title": "x", "year": "1999"}]}', "n1"),
        ('{"withdraw": [5]}', "withdraw"),
        ('{"withdraw": "i01"}', "withdraw must be a list"),
        ('{"restore": ["nobody"]}', "nobody"),
        ('{"restore": ["i01"]}', "never withdrawn"),
        ('{"restore": ["i01"], "withdraw": ["i01"]}', "both"),
    ],
)
def test_changes_that_do_not_fit_are_refused(
    text, told, bundle_dir: Path, run_dir: Path, tmp_path: Path
):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(InputError, match=told):
        update_catalogue(bundle_dir, tmp_path / "c.json", run_dir, tmp_path / "next")
    assert [p.name for p in tmp_path.iterdir()] == ["c.json"]


def test_added_items_are_lifted_by_one_common_shift(run_dir):
    from pocketrec_training.cold_start.content_vectors import ContentVectors
    from pocketrec_training.cold_start.score_calibration import (
        fit_users,
        lifted_vectors,
        vectors_of_users,
    )
    from pocketrec_training.data.dataset import Items, load_dataset
    from pocketrec_training.trained import load_trained

    trained = load_trained(run_dir)
    data = load_dataset(trained.recipe, run_dir)
    new = Items(
        ids=["new-1", "new-2", "new-3"],
        titles=["Film of films", "Another film", "Film 7"],
        categories=[(), (), ()],
        price=np.full(3, -1, np.float32),
        year=np.array([1990, 1970, -1], np.float32),
    )
    users, known = fit_users(data, trained.recipe.seed), trained.item_vectors
    made = ContentVectors(
        data,
        trained.item_vectors_for,
        users=users,
        user_vectors=vectors_of_users(
            trained.user_tower, trained.spec, data, users, known, int(data.ts.max())
        ),
        item_vectors=known,
    )
    shift = lifted_vectors(trained, data, new) - made(new)
    assert np.linalg.norm(shift[0]) > 0
    assert np.allclose(shift, shift[0], atol=1e-4 * np.abs(shift).max())
