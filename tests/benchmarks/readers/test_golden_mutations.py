"""Every fault of the list is caught by the golden vectors of the tiny bundle."""

import json
from dataclasses import replace

import pytest

from benchmarks.harness import Options, document
from benchmarks.readers import golden_mutations
from benchmarks.readers.golden_mutations import (
    Fault,
    FaultyListError,
    Sound,
    applied,
    failing,
    read_faults,
    run,
)
from pocketrec_bundle import ranker_features
from pocketrec_bundle.manifest import FORMAT_VERSION
from pocketrec_bundle.settings.rules import KINDS
from pocketrec_edge.recommend import pipeline
from pocketrec_edge.recommend.rules import apply_rules, removal
from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle

FLOOR = Fault(
    file="edge_runtime/pocketrec_edge/recommend/rules/removal.py",
    old="np.flatnonzero(values >= floor)",
    new="np.flatnonzero(values > floor)",
    wrong="an item at the floor goes",
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Sound:
    folder = tmp_path_factory.mktemp("sound") / "bundle"
    write_tiny_bundle(folder, FORMAT_VERSION, answers=True)
    return Sound.of(folder)


def test_each_fault_is_caught_and_leaves_the_reader_as_it_was(sound):
    assert failing(sound) == ([], [])
    faults = read_faults()
    assert len(faults) >= 30
    missed = []
    for fault in faults:
        with applied(fault):
            if not failing(sound)[1]:
                missed.append(fault.wrong)
    assert missed == []
    assert failing(sound) == ([], [])


def test_the_list_removes_each_rule_and_has_no_fault_twice():
    faults = read_faults()
    texts = [(fault.file, fault.old, fault.new) for fault in faults]
    assert len(set(texts)) == len(texts)
    removed = " ".join(fault.wrong for fault in faults if fault.wrong.startswith("no "))
    for kind in KINDS:
        word = "calibration" if "calibration" in kind else kind
        word = "exploration" if "thompson" in kind else word
        assert word in removed, kind


def test_a_line_that_fits_no_more_is_named(tmp_path):
    for old, told in (("no such text", "stands 0 times"), ("values", "stands .* times, not once")):
        with pytest.raises(FaultyListError, match=told), applied(replace(FLOOR, old=old)):
            pass
    with (
        pytest.raises(FaultyListError, match="changes no function"),
        applied(replace(FLOOR, new=FLOOR.old)),
    ):
        pass
    path = tmp_path / "faults.txt"
    path.write_text("a line of another form\n")
    with pytest.raises(FaultyListError, match=r"faults\.txt"):
        read_faults(path)


def test_modules_that_imported_the_function_by_name_have_the_fault(sound):
    import numpy as np

    named = vars(apply_rules)
    assert named["above_floor"] is removal.above_floor
    with applied(FLOOR):
        assert named["above_floor"](np.array([0.5, 1.0]), 0.5).tolist() == [1]
        assert failing(sound)[1] == ["rules/slate"]
    assert named["above_floor"](np.array([0.5, 1.0]), 0.5).tolist() == [0, 1]


def test_a_fault_inside_a_class_is_applied_and_one_that_breaks_is_caught(sound):
    broken = Fault(
        file="edge_runtime/pocketrec_edge/recommend/pipeline.py",
        old="excluded[history.interactions().rows] = True",
        new='raise KeyError("broken")',
        wrong="",
    )
    before = pipeline.Recommender.excluded.__code__
    seen = Fault(
        file="bundle/pocketrec_bundle/ranker_features.py",
        old="since_last <= SESSION_GAP_S",
        new="since_last <= 1 / 0",
        wrong="",
    )
    with applied(broken):
        assert pipeline.Recommender.excluded.__code__ is not before
    with applied(seen):
        assert failing(sound)[1] == ["error", "error"]
    assert pipeline.Recommender.excluded.__code__ is before
    assert ranker_features.SESSION_GAP_S == 1800


def test_the_benchmark_counts_what_is_caught(tmp_path, monkeypatch):
    harmless = replace(FLOOR, new="np.flatnonzero(values >= floor * 1.0)", wrong="nothing")
    monkeypatch.setattr(golden_mutations, "read_faults", lambda: [FLOOR, harmless])
    found = json.loads(json.dumps(document(run(Options(work=tmp_path / "work")))))
    assert found["figures"] == {"faults": 2, "caught": 1, "caught_by_requests_alone": 0}
    assert [row["first"] for row in found["rows"]] == ["rules/slate", ""]
