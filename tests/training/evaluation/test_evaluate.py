import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from pocketrec_bundle.errors import InputError
from pocketrec_training.baselines import BASELINES
from pocketrec_training.data.dataset import TEST, VALID, load_dataset
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.evaluation import evaluate as evaluation
from pocketrec_training.evaluation import question
from pocketrec_training.evaluation.baseline_gain import read_gain
from pocketrec_training.evaluation.compare import compare
from pocketrec_training.evaluation.evaluate import evaluate
from pocketrec_training.metrics.case_file import read_cases
from pocketrec_training.metrics.cases import evaluation_settings
from pocketrec_training.ranker.cross_fit import (
    FOLDS,
    CrossFit,
    assign_folds,
    load_cross_fit,
    save_cross_fit,
)
from pocketrec_training.recipe.load import load_recipe, parse_recipe
from pocketrec_training.run_folder import RunFolder
from pocketrec_training.train import train
from pocketrec_training.trained import load_trained

DAY = 86_400


@pytest.fixture(scope="module")
def shop(tmp_path_factory, uncompiled):
    """A run on baskets with repeats and late newcomers, split by time; folder with run and data."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(0)
    lines = ["who,what,when,paid"]
    for user in range(60):
        mine = rng.choice(30, 6, replace=False)
        for week in range(10) if user < 54 else (9,):
            day = week * 7 + int(rng.integers(0, 7))
            lines += [f"u{user},i{i},{day * DAY},{i / 2}" for i in rng.choice(mine, 2, False)]
            lines += [f"u{user},i{(item := rng.integers(0, 30))},{day * DAY},{item / 2}"]
    (folder / "i.csv").write_text("\n".join(lines))
    value = {
        "name": "shop",
        "data": {"interactions": "i.csv"},
        "columns": {
            "user": "who",
            "item": "what",
            "timestamp": "when",
            "timestamp_unit": "s",
            "value": "paid",
        },
        "events": {
            "default": "purchase",
            "types": ["purchase"],
            "purchase": {"value": "amount", "currency": "EUR"},
        },
        "split": {"kind": "global_time", "valid_share": 0.2, "test_share": 0.2},
        "retrieval": {"dim": 8, "blocks": 1, "max_history": 20, "epochs": 1},
        "ranker": {
            "candidates": 20,
            "epochs": 1,
            "deep": [8],
            "cross_layers": 1,
            "heads": ["engage"],
            "head_weights": [1.0],
        },
    }
    recipe = parse_recipe(value, "shop.toml")
    build_tables(recipe, folder / "data", folder)
    with uncompiled():
        train(recipe=recipe, data=folder / "data", out=folder / "run", final=False)
    return folder


@pytest.fixture(scope="module")
def evaluated(shop):
    return evaluate(run=shop / "run", data=shop / "data", out=shop / "report")


@pytest.fixture(scope="module")
def found(evaluated):
    return evaluated.details


def test_typed_figures_are_those_of_the_written_file(evaluated, shop):
    written = json.loads((shop / "report" / "evaluation.json").read_bytes())
    assert evaluated.details == written
    tables = {"new_to_user": written["retrieval"], "all": written["retrieval_all"]}
    assert [each.setting for each in evaluated.methods] == [
        setting for setting, table in tables.items() for _ in table
    ]
    for each in evaluated.methods:
        row = tables[each.setting][each.method]
        typed = {name: dataclasses.asdict(value) for name, value in each.metrics.items()}
        typed |= {f"coverage@{k}": value for k, value in each.coverage.items()}
        assert typed == row
        assert each.cases == written["protocol"]["settings"][each.setting]["cases"]
    assert evaluated.sentence == written["baseline_gain"]["sentence"]
    assert evaluated.report == shop / "report" / "evaluation.html"
    assert (evaluated.split, list(evaluated.notes)) == ("test", written["notes"])


def test_figures_are_of_the_main_setting_unless_another_is_named(evaluated):
    assert evaluated.of("two_stage").setting == "new_to_user"
    assert evaluated.of("personal_frequency", "all").metrics["ndcg@10"].value > 0
    with pytest.raises(KeyError, match="no method 'personal_frequency' in setting 'new_to_user'"):
        evaluated.of("personal_frequency")


def test_both_settings_are_reported_with_all_methods(found):
    always = {"two_stage", "two_tower"} | {
        name for name, b in BASELINES.items() if not b.only_all and not b.needs
    }
    assert always <= found["retrieval"].keys()
    assert always | {"personal_frequency"} <= found["retrieval_all"].keys()
    assert "personal_frequency" not in found["retrieval"]
    # Habits decide here: who counts them does better than who counts everybody's.
    every = found["retrieval_all"]
    own, popular = (every[m]["recall@20"]["value"] for m in ("personal_frequency", "popularity"))
    assert own > popular


def test_newcomers_are_a_segment_of_their_own(found):
    assert found["segments"]["no history"]["users"] == 6
    with_history = sum(s["users"] for name, s in found["segments"].items() if name != "no history")
    assert with_history == found["protocol"]["settings"]["new_to_user"]["cases"]


@pytest.fixture(scope="module")
def on_validation(shop):
    return evaluate(
        run=shop / "run", data=shop / "data", out=shop / "valid-report", split="valid"
    ).details


def test_train_and_evaluate_report_the_same_number(on_validation, shop):
    trained = json.loads((shop / "run" / "train_report.json").read_bytes())["valid_ndcg10"]
    assert on_validation["retrieval"]["two_tower"]["ndcg@10"]["value"] == trained


def test_items_had_before_are_neither_candidates_nor_targets_in_training(shop):
    """A target that the user had cannot be found among items new to the user."""
    recipe = load_recipe(shop / "run" / "recipe.json")
    data = load_dataset(recipe, shop / "data")
    cases = evaluation_settings(data, VALID)[0]
    assert cases.setting == "new_to_user"
    for at, (user, end) in enumerate(cases.pairs):
        assert not set(cases.targets_of(at)) & set(data.history(user, end).rows)


def test_validation_figures_come_from_rankers_that_did_not_learn_from_the_user(
    shop, monkeypatch, tmp_path
):
    run = tmp_path / "run"
    shutil.copytree(shop / "run", run)
    trained = load_trained(run)
    fold_of = assign_folds(load_dataset(trained.recipe, shop / "data").user_ids, 7)
    save_cross_fit(run, CrossFit(rankers=(trained.ranker,) * FOLDS, fold_of=fold_of))
    asked = []

    class Spy:
        def __init__(self, ranker, fold):
            self._ranker, self._fold = ranker, fold

        def __getattr__(self, name):
            return getattr(self._ranker, name)

        def predict_on_batch(self, inputs):
            asked.append(self._fold)
            return self._ranker.predict_on_batch(inputs)

    real = load_cross_fit

    def spied(folder):
        found = real(folder)
        assert found is not None
        rankers = tuple(Spy(one, fold) for fold, one in enumerate(found.rankers))
        return dataclasses.replace(found, rankers=rankers)

    def never(*_):
        raise AssertionError("the ranker that ships learned from these events")

    monkeypatch.setattr(question, "load_cross_fit", spied)
    monkeypatch.setattr(question, "load_trained", lambda _: trained)
    monkeypatch.setattr(trained.ranker, "predict_on_batch", never)
    monkeypatch.setattr(evaluation, "measured_importance", lambda *_: ([], ""))
    evaluate(
        run=run,
        data=shop / "data",
        out=tmp_path / "report",
        split="valid",
        methods=["transitions"],
    )
    assert set(asked) == set(range(FOLDS))


def test_a_run_from_before_cross_fitting_gives_no_validation_figures(shop, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(shop / "run", run)
    report = json.loads((run / "train_report.json").read_bytes())
    del report["ranker_gain"], report["ranker_gain_sentence"]
    (run / "train_report.json").write_text(json.dumps(report))
    with pytest.raises(RunInvalidError, match=r"older version.*Train again"):
        evaluate(run=run, data=shop / "data", out=tmp_path / "report", split="valid")


def test_the_first_line_compares_with_the_best_baseline(found, shop, runner):
    from pocketrec.cli import main

    words = ["evaluate", shop / "run", "--data", shop / "data", "--out", shop / "again"]
    done = runner.invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    sentence = found["baseline_gain"]["sentence"]
    assert done.stdout.splitlines()[0] == sentence
    assert sentence in (shop / "report" / "evaluation.html").read_text()
    gain = read_gain(shop / "run")
    assert gain is not None and gain.sentence() == sentence
    rival = found["baseline_gain"]["rival"]
    values = found["retrieval"]
    assert rival == max(
        (name for name in values if name in BASELINES),
        key=lambda name: values[name]["ndcg@10"]["value"],
    )


def test_segments_are_those_of_what_ships(found, shop):
    cases = read_cases(shop / "report")["new_to_user"]
    both = sum(
        s["users"] * s["ndcg@10"] for name, s in found["segments"].items() if name != "no history"
    )
    values = cases.per_case("two_stage", (10,))["ndcg@10"]
    assert both == pytest.approx(values.sum())


def test_hits_by_the_items_events_count_every_target_and_hit(found, shop):
    for setting, cases in read_cases(shop / "report").items():
        groups = found["item_hits"][setting].values()
        assert sum(m["targets"] for m in groups) == cases.offsets[-1]
        assert sum(m["hits@20"] for m in groups) == (cases.ranks["two_stage"] < 20).sum()
        (name,) = {m["best_baseline"] for m in groups}
        rival = cases.ranks[name]
        assert sum(m["best_baseline_hits@20"] for m in groups) == (rival < 20).sum()


def test_amounts_weigh_the_items_of_a_case(found, shop):
    """The amount of an item is its number / 2, and a user may have bought it more than once."""
    assert found["value_ndcg"].keys() == {"amount EUR"}
    data = load_dataset(load_recipe(shop / "run" / "recipe.json"), shop / "data")
    cases = evaluation_settings(data, TEST)[0]
    ranks = read_cases(shop / "report")["new_to_user"].ranks["popularity"]
    values = []
    for at, (user, end) in enumerate(cases.pairs):
        held = slice(int(data.offsets[user]) + end, int(data.offsets[user + 1]))
        worth = [
            sum(int(data.items.ids[row][1:]) / 2 for row in data.rows[held] if row == target)
            for target in cases.targets_of(at)
        ]
        places = ranks[cases.offsets[at] : cases.offsets[at + 1]]
        got = sum(w / np.log2(p + 2) for w, p in zip(worth, places, strict=True) if p < 20)
        best = sum(w / np.log2(p + 2) for p, w in enumerate(sorted(worth, reverse=True)[:20]))
        if best:
            values.append(got / best)
    told = found["value_ndcg"]["amount EUR"]["new_to_user"]
    assert told["cases"] == len(values)
    assert told["ndcg@20"]["popularity"]["value"] == pytest.approx(np.mean(values))
    assert "weighted by amount EUR" in (shop / "report" / "evaluation.html").read_text()


def test_parameters_and_what_was_tried_are_reported(found):
    chosen = {(b["method"], b["setting"]): b for b in found["baselines"]["chosen"]}
    ease = chosen["ease", "all"]
    best = max(ease["tried"], key=lambda t: t["ndcg@20"])
    assert ease["parameters"] == best["parameters"]
    assert len(ease["tried"]) > 2
    assert ease["fitted_on"] == "train+valid"


def test_baselines_count_the_validation_period_for_test_cases_only(found, shop):
    assert {b["fitted_on"] for b in found["baselines"]["chosen"]} == {"train+valid"}
    again = evaluate(run=shop / "run", data=shop / "data", out=shop / "valid", split="valid")
    valid = again.details
    assert {b["fitted_on"] for b in valid["baselines"]["chosen"]} == {"train"}
    for one, two in zip(found["baselines"]["chosen"], valid["baselines"]["chosen"], strict=True):
        assert one["parameters"] == two["parameters"]  # the same search serves both


def test_beyond_accuracy_of_popularity_is_that_of_one_list(found):
    popular = found["beyond_accuracy"]["all"]["popularity"]
    assert popular["coverage@10"] == pytest.approx(10 / 30)
    others = found["beyond_accuracy"]["all"]["personal_frequency"]
    assert others["mean_popularity@10"] < popular["mean_popularity@10"]
    assert others["exposure_gini@10"] < popular["exposure_gini@10"]


def test_chosen_methods_and_sampled_users_are_said_and_do_not_count_for_export(shop, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(shop / "run", run)
    RunFolder(run).baseline_gain.unlink(missing_ok=True)
    part = evaluate(
        run=run,
        data=shop / "data",
        out=tmp_path / "report",
        methods=["popularity", "personal_frequency"],
        users=20,
    )
    assert part.details["protocol"]["sample"] == {"users": 20, "of": 54, "seed": 7}
    assert part.of("popularity", "all").cases == 20
    ours = {"two_stage", "two_tower"}
    assert part.details["retrieval"].keys() == ours | {"popularity"}
    assert part.details["retrieval_all"].keys() == ours | {"popularity", "personal_frequency"}
    page = part.report.read_text()
    assert "sample of 20 of 54 users, drawn by seed 7" in page
    assert any("chosen baselines only" in note for note in part.notes)
    assert read_gain(run) is None


def test_a_previous_run_and_a_previous_report_stand_beside(shop, found, tmp_path):
    words = {"run": shop / "run", "data": shop / "data", "methods": ["popularity"]}
    same = evaluate(out=tmp_path / "a", previous=shop / "report", **words)
    gain = same.details["previous_gain"]
    assert gain["same_cases"]
    assert gain["a"] == pytest.approx(gain["b"], abs=1e-6)
    assert gain["low"] <= 0 <= gain["high"]
    page = same.report.read_text()
    assert "previous NDCG@10" in page
    assert "may be equally good" in page
    fewer = evaluate(out=tmp_path / "b", previous=shop / "report", users=20, **words)
    assert not fewer.details["previous_gain"]["same_cases"]
    assert "measured on other cases" in fewer.report.read_text()
    again = evaluate(out=tmp_path / "c", previous=shop / "run", users=20, **words)
    assert again.details["previous_gain"]["same_cases"]


def test_a_hybrid_is_compared_without_its_part(shop, tmp_path):
    part = evaluate(
        run=shop / "run",
        data=shop / "data",
        out=tmp_path,
        methods=["ease_popularity"],
        users=20,
    )
    assert part.details["retrieval"].keys() == {"two_stage", "two_tower", "ease_popularity"}
    assert {b["method"] for b in part.details["baselines"]["chosen"]} == {"ease_popularity"}


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        (["popular"], "no baseline is named 'popular'. Known: popularity, "),
        ([], "name at least one baseline of popularity, "),
        (["personal_frequency"], "none of personal_frequency can answer the setting new_to_user"),
    ],
)
def test_methods_that_cannot_be_compared_are_refused(shop, tmp_path, methods, said):
    with pytest.raises(InputError, match=re.escape(said)):
        evaluate(run=shop / "run", data=shop / "data", out=tmp_path, methods=methods, users=5)


def test_example_users_show_hits_and_misses_with_titles(found):
    users = found["examples"]["users"]
    assert {user["hit"] for user in users} == {True, False}
    for user in users:
        taken = [item for item in user["next"] if item["hit"]]
        assert bool(taken) == user["hit"] == any(item["taken"] for item in user["slate"])
        assert len(user["slate"]) == 10
        assert len(user["history"]) == min(user["events"], 8)


def test_recall_curves_pass_through_the_tables_figures(found):
    for setting, key in (("new_to_user", "retrieval"), ("all", "retrieval_all")):
        curves = found["recall_curves"][setting]
        for method, values in curves["methods"].items():
            assert values == sorted(values)
            at_20 = values[curves["k"].index(20)]
            assert at_20 == pytest.approx(found[key][method]["recall@20"]["value"])


def test_files_agree_with_each_other(found, shop):
    assert json.loads((shop / "report" / "evaluation.json").read_bytes()) == found
    page = (shop / "report" / "evaluation.html").read_text()
    for words in ("Repeats included", "no history", "Beyond accuracy", "tifu knn"):
        assert words in page
    for setting, key in (("new_to_user", "retrieval"), ("all", "retrieval_all")):
        cases = read_cases(shop / "report")[setting]
        for method in found[key]:
            value = cases.per_case(method, (20,))["ndcg@20"].mean()
            assert value == pytest.approx(found[key][method]["ndcg@20"]["value"])


def test_model_is_compared_with_a_baseline_in_both_settings(found, shop):
    report = shop / "report"
    result = compare(report, report, "two_tower", "personal_frequency")
    assert result["settings"].keys() == {"all"}
    result = compare(report, report, "two_tower", "two_tower")
    assert result["settings"].keys() == {"all", "new_to_user"}
    assert result["settings"]["all"]["metrics"]["ndcg@20"]["p"] == 1


def test_runs_are_compared_by_evaluating_them(shop, runner):
    from pocketrec.cli import main

    words = ["compare", shop / "run", shop / "report", "--data", shop / "data", "--json"]
    done = runner.invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    difference = json.loads(done.stdout)["settings"]["all"]["metrics"]["ndcg@20"]["difference"]
    assert difference == pytest.approx(0, abs=1e-6)
