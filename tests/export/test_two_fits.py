"""A run whose final fit has other vectors and other models than its evaluation fit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_export.build import export_bundle
from pocketrec_training.run_folder import RunFolder

LOSSES = ("NDCG@10 loss", "AUC loss")
FINAL = {
    "epochs": 2,
    "epochs_planned": 2,
    "retrieval_stopped_by": "epochs",
    "ranker_epochs": 1,
    "ranker_lists": 24,
    "new_items": 3,
    "reproducible": True,
    "last_ts": 900_000_000,
}


@pytest.fixture(scope="module")
def two_fits(run_dir: Path, tmp_path_factory) -> Path:
    """`run_dir` with a final fit: its vectors belong to other items, its weights differ."""
    from pocketrec_training.saved_model import load_model

    folder = tmp_path_factory.mktemp("two") / "run"
    shutil.copytree(run_dir, folder)
    run = RunFolder(folder)
    final = run.final.path
    final.mkdir()
    for name in ("recipe.json", "feature_spec.json", "neighbours.npz", "item_tower.keras"):
        shutil.copyfile(folder / name, final / name)
    rng = np.random.default_rng(5)
    vectors = np.load(run.item_vectors)
    np.save(run.final.item_vectors, vectors[rng.permutation(len(vectors))])
    for name in ("user_tower", "ranker"):
        model = load_model(run.model(name))
        for variable in model.trainable_variables:
            variable.assign(variable + rng.normal(0.0, 0.02, variable.shape))
        model.save(run.final.model(name))
    run.final.report.write_text(json.dumps(FINAL))
    report = run.read_report()
    run.report.write_text(json.dumps(report | {"final": FINAL}))
    return folder


@pytest.fixture(scope="module")
def bundles(two_fits: Path) -> dict[str, Bundle]:
    """The run exported, and its evaluation fit exported."""
    export_bundle(run=two_fits, out=two_fits.parent / "final", force=True)
    export_bundle(run=two_fits, out=two_fits.parent / "evaluation", fit="evaluation", force=True)
    return {name: open_bundle(two_fits.parent / name) for name in ("final", "evaluation")}


def rows_of(bundle: Bundle) -> np.ndarray:
    order = [bundle.row_of(f"i{n:02d}") for n in range(40)]
    return bundle.array("index/rows")[order] * bundle.scales[order][:, None]


@pytest.mark.parametrize("fit", ["final", "evaluation"])
def test_bundle_has_the_vectors_and_the_name_of_its_fit(bundles, two_fits: Path, fit):
    run = RunFolder(two_fits)
    vectors = np.load(run.of(fit).item_vectors)
    assert np.abs(rows_of(bundles[fit]) - vectors).max() <= bundles[fit].scales.max()
    assert bundles[fit].manifest.fit == fit
    assert bundles[fit].json("model_card.json")["fit"] == fit


def test_popularity_of_the_final_fit_counts_all_events(bundles):
    """12 users with 126 events; `leave_last` holds back two of each."""
    counted = {fit: bundle.numeric[np.arange(40)][:, 0].sum() for fit, bundle in bundles.items()}
    assert counted == {"final": 126, "evaluation": 126 - 2 * 12}


def test_losses_are_those_of_the_evaluation_fit_and_parity_is_the_final_fits(bundles):
    found = {}
    for fit, bundle in bundles.items():
        rows = bundle.json("model_card.json")["export"]["gates"]
        found[fit] = {
            check: {
                (row["check"], row["target"], row["variant"]): row["value"]
                for row in rows
                if row["check"] in checks
            }
            for check, checks in (("losses", LOSSES), ("parity", ("cosine", "rank correlation")))
        }
    both = found["final"]["losses"].keys() & found["evaluation"]["losses"].keys()
    assert both
    assert all(found["final"]["losses"][k] == found["evaluation"]["losses"][k] for k in both)
    assert found["final"]["parity"] != found["evaluation"]["parity"]


def test_card_says_which_figure_is_of_which_fit(bundles):
    text = bundles["final"].read("model_card.md").decode()
    assert "final fit, which ships: learned from all events, with 3 items" in text
    assert "All figures of quality are of the evaluation fit" in text
    assert "AUC losses are those of the evaluation fit" in text
    assert bundles["final"].json("model_card.json")["final"] == FINAL
    assert "final fit" not in bundles["evaluation"].read("model_card.md").decode()


def test_models_say_what_ended_the_fit_that_ships(bundles):
    def stopped(fit):
        entry = bundles[fit].manifest.models("user_tower", "litert")[0]
        return entry.meta["stopped_by"], entry.meta["reproducible"]

    assert stopped("final") == ("epochs", 1)
    assert stopped("evaluation") == ("patience", 0)
