from dataclasses import replace

import pytest

pytest.importorskip("pydantic", reason="needs the train extra")

from pocketrec_export.gates.checks import Losses
from pocketrec_export.gates.choose import choose
from pocketrec_export.gates.losses import Estimate
from pocketrec_export.gates.measure import FileFigures
from pocketrec_export.gates.rows import remedies, table
from pocketrec_training.recipe.schema import Target


def sure(value: float) -> Estimate:
    return Estimate(value=value, low=value, high=value)


GOOD = Losses(ndcg=sure(0.0), auc=sure(0.0))


class Figures:
    """Measures with hand-made figures by variant of the tower; `asked` says what was measured."""

    def __init__(self, *, times=None, overlaps=None, losses=None, index=GOOD, skips_cells=False):
        self.times, self.overlaps = times or {}, overlaps or {}
        self.of, self.index, self.skips_cells = losses or {}, index, skips_cells
        self.asked: list[tuple[str, ...]] = []

    def latency(self, file):
        self.asked.append(("time", file.model, file.variant))
        return self.times.get(file.variant, sure(1.0)) if file.model == "user_tower" else sure(1.0)

    def slate_overlap(self, tower, ranker):
        self.asked.append(("slates", tower.variant, ranker.variant))
        return self.overlaps.get(tower.variant, 1.0)

    def losses(self, tower, ranker):
        self.asked.append(("losses", tower.variant, ranker.variant))
        return self.of.get(tower.variant, GOOD)

    def index_slate_overlap(self):
        return 1.0 - 10 * self.index.ndcg.value

    def index_losses(self):
        return self.index


class NoCases(Figures):
    def losses(self, tower, ranker):
        return None


SIZES = {"fp32": 400, "fp16": 200, "dynamic": 100}
LEAST = {"fp32": "2.3.0", "fp16": "2.3.0", "dynamic": "2.17.0"}


def file(model: str, variant: str, engine: str = "litert", **facts) -> FileFigures:
    plain = FileFigures(
        model=model,
        engine=engine,
        variant=variant,
        bytes=SIZES[variant],
        min_runtime=LEAST[variant],
        cosine=1.0,
        overlap=1.0,
        rank_correlation=1.0,
        ms=1.0,
    )
    return replace(plain, **facts)


def files(**towers) -> list[FileFigures]:
    """Both models in three variants for both engines; facts of LiteRT's towers by variant."""
    return [
        file(
            model, variant, engine, **(towers.get(variant, {}) if (model, engine) == TOWER else {})
        )
        for model in ("user_tower", "ranker")
        for engine in ("litert", "onnx")
        for variant in SIZES
    ]


TOWER = ("user_tower", "litert")


def chosen(found) -> tuple[str, str, bool]:
    return found.tower.variant, found.ranker.variant, found.passed


def test_the_smallest_pair_ships_where_all_pass():
    found = choose("android", Target(), files(), Figures())
    assert chosen(found) == ("dynamic", "dynamic", True)
    assert found.engine == "litert"
    assert choose("ios", Target(), files(), Figures()).engine == "onnx"
    assert choose("ios", Target(engine="litert"), files(), Figures()).engine == "litert"


def test_a_ranker_of_a_model_set_is_chosen_beside_the_tower_that_ships():
    tower = file("user_tower", "fp16")
    found = choose("android", Target(), files(), Figures(), tower)
    assert chosen(found) == ("fp16", "dynamic", True)
    off = [replace(one, rank_correlation=0.1) if one.model == "ranker" else one for one in files()]
    refused = choose("android", Target(), off, Figures(), tower)
    assert chosen(refused) == ("fp16", "fp32", False)
    assert {(row.model, row.check) for row in refused.rows if not row.passed} == {
        ("ranker", "rank correlation")
    }


@pytest.mark.parametrize(
    "fault", [{"cosine": 0.99}, {"overlap": 0.98}, {"note": "not finite on: zeros"}]
)
def test_a_file_beyond_one_budget_is_passed_over_for_the_next_larger(fault):
    found = choose("android", Target(), files(dynamic=fault), Figures())
    assert chosen(found) == ("fp16", "dynamic", True)
    (failed,) = [row for row in found.rows if not row.passed]
    assert (failed.model, failed.variant) == ("user_tower", "dynamic")


REAL = {
    "slates": {"overlaps": {"dynamic": 0.8}},
    "ndcg": {"losses": {"dynamic": replace(GOOD, ndcg=Estimate(value=0.02, low=0.006, high=0.03))}},
    "auc": {"losses": {"dynamic": replace(GOOD, auc=Estimate(value=0.01, low=0.0011, high=0.02))}},
}
"""Figures beyond a limit, with all of their interval."""


@pytest.mark.parametrize("loss", REAL.values(), ids=REAL)
def test_quality_is_asked_of_pairs_smallest_first_until_one_passes(loss):
    small = files(fp32={"bytes": 10_000}, fp16={"bytes": 1000})
    figures = Figures(**loss)
    found = choose("android", Target(), small, figures)
    asked = [pair for kind, *pair in figures.asked if kind == "slates"]
    assert asked == [["dynamic", v] for v in ("dynamic", "fp16", "fp32")] + [["fp16", "dynamic"]]
    assert chosen(found) == ("fp16", "dynamic", True)
    assert not found.warned


CHANCE = Losses(ndcg=Estimate(value=0.012, low=0.0, high=0.03), auc=sure(0.0))


def test_a_loss_that_may_be_chance_warns_and_ships_where_no_pair_is_without():
    every = dict.fromkeys(SIZES, CHANCE)
    found = choose("android", Target(), files(), Figures(losses=every))
    assert (*chosen(found), found.warned) == ("dynamic", "dynamic", True, True)
    row = next(row for row in found.rows if row.warned)
    assert (row.check, row.value, row.interval, row.limit) == (
        "NDCG@10 loss",
        0.012,
        (0.0, 0.03),
        0.005,
    )
    assert row.state == "warned"


def test_a_larger_pair_without_a_warning_is_better_than_a_smaller_one_with():
    found = choose("android", Target(), files(), Figures(losses={"dynamic": CHANCE}))
    assert (*chosen(found), found.warned) == ("fp16", "dynamic", True, False)


def test_a_loss_of_the_item_index_sends_nobody_to_larger_files():
    """It is the same for every pair: only what the model files cost can be helped by others."""
    index = Losses(ndcg=Estimate(value=0.01, low=0.0, high=0.02), auc=sure(0.0))
    found = choose("android", Target(), files(), Figures(losses={"dynamic": CHANCE}, index=index))
    assert (*chosen(found), found.warned) == ("dynamic", "dynamic", True, True)
    (row,) = [row for row in found.rows if row.warned]
    assert row.of_index
    assert "the item index costs 0.01 of it" in row.note


def test_a_pair_that_is_refused_is_not_better_than_one_that_is_warned_of():
    small = files(fp32={"cosine": 0.5}, fp16={"cosine": 0.5})
    found = choose("android", Target(), small, Figures(losses={"dynamic": CHANCE}))
    assert (*chosen(found), found.warned) == ("dynamic", "dynamic", True, True)


@pytest.mark.parametrize(
    ("time", "ships", "warns"),
    [
        (Estimate(value=2.9, low=2.5, high=4.0), "dynamic", False),
        (Estimate(value=9.0, low=4.4, high=20.0), "dynamic", True),  # one round within 1.5 x 3
        (Estimate(value=9.0, low=4.6, high=20.0), "fp16", False),
    ],
)
def test_the_time_refuses_only_when_all_rounds_are_far_beyond_the_limit(time, ships, warns):
    found = choose("android", Target(), files(), Figures(times={"dynamic": time}))
    assert chosen(found) == (ships, "dynamic", True)
    assert [row.check for row in found.rows if row.warned] == ["latency ratio"] * warns
    assert not found.warned  # of quality: the bundle must not depend on the clock


def test_what_a_cheap_check_refuses_is_not_measured_further():
    figures = Figures(overlaps={"fp16": 0.5})
    towers = files(dynamic={"cosine": 0.5}, fp32={"bytes": 10_000_000})
    found = choose("android", Target(), towers, figures)
    assert not found.passed
    assert ("time", "user_tower", "dynamic") not in figures.asked  # its cosine is too low
    assert ("time", "user_tower", "fp32") not in figures.asked  # its bytes are too many
    assert not [kind for kind, *_ in figures.asked if kind == "losses"]  # no slates were right
    kinds = [kind for kind, *_ in figures.asked]
    assert (kinds[0], kinds.index("slates")) == ("time", 2)


def test_the_files_of_a_pair_that_is_too_large_are_not_looked_at():
    figures = Figures()
    choose("web", Target(models_bytes=150), files(), figures)
    assert figures.asked == []


def test_every_refused_row_names_its_recipe_key_and_what_to_do():
    towers = files(dynamic={"cosine": 0.5}, fp16={"note": "not finite on: zeros"})
    lost = Losses(ndcg=Estimate(value=0.02, low=0.01, high=0.03), auc=sure(0.0))
    found = choose("android", Target(), towers, Figures(losses={"fp32": lost}))
    rows = [row for row in found.rows if not row.passed]
    assert {row.check: row.key for row in rows} == {
        "runs": "export.variants",
        "cosine": "export.targets.android.cosine",
        "NDCG@10 loss": "export.targets.android.ndcg_loss",
    }
    told = table(rows)
    assert "[0.01, 0.03]       0.005  export.targets.android.ndcg_loss" in told
    for key in ("export.variants", "export.targets.android.cosine"):
        assert f"{key}: " in remedies(rows)


@pytest.mark.parametrize(
    ("skips", "todo"), [(True, "raise index.recall or index.probes"), (False, "rounding to int8")]
)
def test_the_item_index_is_named_where_it_and_not_the_model_loses(skips, todo):
    """The fp32 pair loses as much through the index as the pair refused."""
    lost = Losses(ndcg=Estimate(value=0.02, low=0.01, high=0.03), auc=sure(0.0))
    figures = Figures(losses=dict.fromkeys(SIZES, lost), index=lost, skips_cells=skips)
    found = choose("android", Target(), files(), figures)
    assert not found.passed
    told = table([row for row in found.rows if not row.passed])
    assert "the item index costs 0.02 of it [0.01, 0.03], the model files 0" in told
    assert todo in told
    slates = choose(
        "android",
        Target(),
        files(),
        Figures(overlaps=dict.fromkeys(SIZES, 0.8), index=lost, skips_cells=skips),
    )
    told = table([row for row in slates.rows if not row.passed])
    assert "the item index changes 0.2 of the slates, the model files the rest" in told
    assert todo in told
    models = choose("android", Target(), files(), Figures(losses=dict.fromkeys(SIZES, lost)))
    told = table([row for row in models.rows if not row.passed])
    assert "the item index costs 0 of it [0, 0], the model files 0.02" in told
    assert "index." not in told.replace("item index", "")


@pytest.mark.parametrize(("least", "expected"), [("2.14.0", "dynamic"), ("", "fp16")])
def test_an_old_runtime_gets_only_files_that_are_known_to_load(least, expected):
    towers = {"dynamic": {"min_runtime": least}}
    found = choose("legacy", Target(), files(**towers), Figures())
    assert found.tower.variant == expected
    assert found.ranker.variant == "fp16"  # its dynamic file needs 2.17
    newer = choose("legacy", Target(runtime="2.17.0"), files(), Figures())
    assert newer.tower.variant == "dynamic"


def test_where_nothing_passes_the_exact_pair_is_named_and_the_table_says_by_how_much():
    found = choose("web", Target(models_bytes=150), files(), Figures())
    assert chosen(found) == ("fp32", "fp32", False)
    told = table([row for row in found.rows if not row.passed]).splitlines()
    words = ["web", "both", "dynamic", "+", "dynamic", "bytes", "200", "150"]
    assert told[1].split() == [*words, "export.targets.web.models_bytes"]
    assert len(told) == 2  # larger pairs need no line each


def test_without_validation_cases_the_other_gates_decide():
    found = choose("android", Target(), files(), NoCases())
    assert chosen(found) == ("dynamic", "dynamic", True)
    assert {row.check for row in found.rows if row.model == "both"} == {"bytes", "slate overlap"}
