"""The small twin of `fuzz-bundle`: every mutation, a few times; and what it counts as a crash."""

import os
import shutil

import pytest

from benchmarks.support.bundle_answers import answers, serve
from benchmarks.support.children import fuzz as fuzz_child
from benchmarks.support.mutations import MUTATORS, Base, mutant
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.reader import open_bundle
from pocketrec_export.conformance.tiny_bundle import N_ITEMS, write_tiny_bundle


@pytest.fixture(params=[1, 2, 3])
def base_dir(tmp_path, request):
    write_tiny_bundle(tmp_path / "base", request.param)
    return tmp_path / "base"


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_sound_bundle_opens_and_a_device_answers_from_it(base_dir):
    bundle = open_bundle(base_dir)
    assert bundle.item_count == N_ITEMS
    assert serve(bundle) == 10
    assert answers(bundle) == answers(open_bundle(base_dir))


def test_a_case_is_the_same_each_time_and_others_differ(base_dir):
    base = Base.read(base_dir)
    names = [mutant(base, 7, number)[0] for number in range(len(MUTATORS))]
    assert names == list(MUTATORS)
    assert mutant(base, 7, 30) == mutant(base, 7, 30)
    assert mutant(base, 7, 30) != mutant(base, 8, 30)


def test_every_mutation_is_refused_or_harmless_and_leaves_the_base_whole(base_dir, tmp_path):
    base, expected = Base.read(base_dir), answers(open_bundle(base_dir))
    before, folder = contents(base_dir), tmp_path / "case"
    shutil.copytree(base_dir, folder, copy_function=os.link)
    outcomes = set()
    for number in range(8 * len(MUTATORS)):
        kind, made = mutant(base, 3, number)
        with fuzz_child.placed(made, folder, base_dir):
            outcome, detail = fuzz_child.judge(folder, expected)
        assert outcome != "crash", f"case {number}, {kind}: {detail}"
        outcomes.add(outcome)
    assert outcomes == {"refused", "accepted_equal", "accepted_other"}
    assert contents(folder) == contents(base_dir) == before


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (BundleInvalidError("bad"), "refused"),
        (BundleInvalidError(""), "crash"),
        (BundleInvalidError("x" * 2000), "crash"),
        (KeyError("x"), "crash"),
        (MemoryError(), "crash"),
    ],
)
def test_only_a_refusal_with_a_reason_is_one(base_dir, monkeypatch, error, outcome):
    def fail(folder):
        raise error

    monkeypatch.setattr(fuzz_child, "open_bundle", fail)
    assert fuzz_child.judge(base_dir, "")[0] == outcome


def test_other_answers_are_told_from_equal_ones(base_dir):
    assert fuzz_child.judge(base_dir, "others")[0] == "accepted_other"
    assert fuzz_child.judge(base_dir, answers(open_bundle(base_dir)))[0] == "accepted_equal"


def test_versions_take_turns():
    n = len(MUTATORS)
    at = (0, n - 1, n, 2 * n - 1, 2 * n, 3 * n)
    assert [fuzz_child.version_of(number) for number in at] == [3, 3, 2, 2, 1, 3]


def test_children_are_counted_to_the_last_case_and_a_dead_one_is_a_crash(tmp_path, monkeypatch):
    pytest.importorskip("rich", reason="needs the train extra")
    from benchmarks.harness import Options
    from benchmarks.readers import fuzz_bundle

    found = fuzz_bundle.run(Options(work=tmp_path), cases=len(MUTATORS))
    told = ("refused", "accepted_equal", "accepted_other", "crashes")
    assert sum(found.figures[name] for name in told) == found.figures["cases"] == len(MUTATORS)
    assert found.figures["crashes"] == 0
    assert 0 < found.figures["peak_mib"] < fuzz_child.ADDRESS_SPACE_MIB
    assert [row["mutation"] for row in found.rows] == list(MUTATORS)

    child = tmp_path / "child.py"
    child.write_text("import os, signal\nprint('ready', flush=True)\nos.kill(os.getpid(), 14)\n")
    monkeypatch.setattr(fuzz_bundle, "CHILD", [str(child)])
    died = [verdict for _, verdict in fuzz_bundle.verdicts(tmp_path, 7, 2)]
    assert [(one["outcome"], one["detail"]) for one in died] == [("crash", "it hangs")] * 2


def test_a_sound_bundle_that_does_not_open_ends_the_benchmark(tmp_path, monkeypatch):
    pytest.importorskip("rich", reason="needs the train extra")
    from benchmarks.readers import fuzz_bundle
    from benchmarks.support.command_line import ChildFailedError

    child = tmp_path / "child.py"
    child.write_text("raise SystemExit(1)\n")
    monkeypatch.setattr(fuzz_bundle, "CHILD", [str(child)])
    with pytest.raises(ChildFailedError, match="does not open"):
        next(fuzz_bundle.verdicts(tmp_path, 7, 2))
