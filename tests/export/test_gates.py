from dataclasses import replace

import pytest

pytest.importorskip("pydantic", reason="needs the train extra")

from export.gates import Quality, choose, table
from export.measure import FileFigures
from training.recipe import Target

GOOD = Quality(slate_overlap=1.0, ndcg_loss=0.0, auc_loss=0.0)
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
    found = choose("android", Target(), files(), lambda *_: GOOD)
    assert chosen(found) == ("dynamic", "dynamic", True)
    assert found.engine == "litert"
    assert choose("ios", Target(), files(), lambda *_: GOOD).engine == "onnx"
    assert choose("ios", Target(engine="litert"), files(), lambda *_: GOOD).engine == "litert"


@pytest.mark.parametrize(
    "fault",
    [{"cosine": 0.99}, {"overlap": 0.98}, {"ms": 3.1}, {"note": "not finite on: zeros"}],
)
def test_a_file_beyond_one_budget_is_passed_over_for_the_next_larger(fault):
    found = choose("android", Target(), files(dynamic=fault), lambda *_: GOOD)
    assert chosen(found) == ("fp16", "dynamic", True)
    (failed,) = [row for row in found.rows if not row.passed]
    assert (failed.model, failed.variant) == ("user_tower", "dynamic")


@pytest.mark.parametrize(
    "loss", [{"slate_overlap": 0.8}, {"ndcg_loss": 0.006}, {"auc_loss": 0.0011}]
)
def test_quality_is_asked_of_pairs_smallest_first_until_one_passes(loss):
    asked = []

    def quality(tower, ranker):
        asked.append((tower.variant, ranker.variant))
        return replace(GOOD, **loss) if tower.variant == "dynamic" else GOOD

    small = files(fp32={"bytes": 10_000}, fp16={"bytes": 1000})
    found = choose("android", Target(), small, quality)
    assert asked == [("dynamic", v) for v in ("dynamic", "fp16", "fp32")] + [("fp16", "dynamic")]
    assert chosen(found) == ("fp16", "dynamic", True)


@pytest.mark.parametrize(("least", "expected"), [("2.14.0", "dynamic"), ("", "fp16")])
def test_an_old_runtime_gets_only_files_that_are_known_to_load(least, expected):
    towers = {"dynamic": {"min_runtime": least}}
    found = choose("legacy", Target(), files(**towers), lambda *_: GOOD)
    assert found.tower.variant == expected
    assert found.ranker.variant == "fp16"  # its dynamic file needs 2.17
    newer = choose("legacy", Target(runtime="2.17.0"), files(), lambda *_: GOOD)
    assert newer.tower.variant == "dynamic"


def test_where_nothing_passes_the_exact_pair_is_named_and_the_table_says_by_how_much():
    found = choose("web", Target(models_bytes=150), files(), lambda *_: GOOD)
    assert chosen(found) == ("fp32", "fp32", False)
    told = table([found]).splitlines()
    assert told[1].split() == ["web", "both", "dynamic", "+", "dynamic", "bytes", "200", "150"]
    assert len(told) == 2  # larger pairs need no line each


def test_without_validation_cases_the_other_gates_decide():
    found = choose("android", Target(), files(), lambda *_: None)
    assert chosen(found) == ("dynamic", "dynamic", True)
    assert {row.check for row in found.rows if row.model == "both"} == {"bytes"}
