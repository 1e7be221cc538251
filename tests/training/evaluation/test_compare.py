import json
from typing import Any

import numpy as np
import pytest

from pocketrec.cli import main
from pocketrec_training.errors import CasesDifferError, RunInvalidError
from pocketrec_training.evaluation.compare import compare
from pocketrec_training.metrics.case_file import CASE_FILE, add_places, read_cases, write_cases
from pocketrec_training.metrics.cases import Cases
from pocketrec_training.metrics.ranks import RankedTargets


class Names:
    """The part of a dataset that a case file needs."""

    user_ids = ("ann", "bob", "cy", "dee")


def cases(n=4, setting="new_to_user"):
    return Cases(
        setting=setting,
        users=np.arange(n),
        ends=np.full(n, 3),
        offsets=2 * np.arange(n + 1),
        targets=np.tile([5, 6], n).astype(np.int32),
    )


def report(folder, methods, *, digest="same", n=4):
    folder.mkdir()
    ranked = {
        name: RankedTargets(ranks=np.array(ranks, np.int64), top=np.zeros((n, 1), np.int32))
        for name, ranks in methods.items()
    }
    names: Any = Names()
    write_cases(folder, names, {"new_to_user": (cases(n), ranked)})
    protocol = {"cases_sha256": {"new_to_user": digest}}
    (folder / "evaluation.json").write_text(json.dumps({"protocol": protocol}))
    return folder


BAD, GOOD = [0, 30, 50, 60, 2, 40, 90, 99], [0, 1, 0, 60, 2, 1, 3, 4]


def test_case_file_gives_every_metric_back(tmp_path):
    report(tmp_path / "a", {"two_stage": GOOD})
    found = read_cases(tmp_path / "a")["new_to_user"]
    assert found.users.tolist() == ["ann", "bob", "cy", "dee"]
    values = found.per_case("two_stage", (2, 20))
    assert values["recall@2"].tolist() == [1, 0.5, 0.5, 0]
    assert values["recall@20"].tolist() == [1, 0.5, 1, 1]
    with np.load(tmp_path / "a" / CASE_FILE) as saved:
        assert saved["new_to_user.places.two_stage"].dtype == np.int32


def test_a_method_is_added_beside_the_others(tmp_path):
    a = report(tmp_path / "a", {"two_stage": BAD})
    add_places(a, "the device", {"new_to_user": (cases(), np.array(GOOD, np.int64))})
    found = read_cases(a)["new_to_user"]
    assert found.ranks["two_stage"].tolist() == BAD
    assert found.ranks["the device"].tolist() == GOOD
    difference = compare(a, a, "two_stage", "the device")["settings"]["new_to_user"]
    assert difference["metrics"]["recall@20"]["difference"] > 0


def test_a_method_that_answered_other_cases_is_not_added(tmp_path):
    a = report(tmp_path / "a", {"two_stage": BAD})
    with pytest.raises(RunInvalidError, match="new_to_user has other cases"):
        add_places(a, "x", {"new_to_user": (cases(3), np.zeros(6, np.int64))})
    with pytest.raises(RunInvalidError, match="all has other cases"):
        add_places(a, "x", {"all": (cases(), np.zeros(8, np.int64))})


def test_difference_is_b_minus_a(tmp_path):
    a = report(tmp_path / "a", {"two_stage": BAD})
    b = report(tmp_path / "b", {"two_stage": GOOD})
    found = compare(a, b)["settings"]["new_to_user"]["metrics"]
    assert found["recall@20"]["a"] == pytest.approx((0.5 + 0 + 0.5 + 0) / 4)
    assert found["recall@20"]["b"] == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert found["recall@20"]["difference"] == pytest.approx(2.5 / 4)
    assert (found["recall@20"]["wins"], found["recall@20"]["losses"]) == (4, 0)


def test_other_cases_are_refused(tmp_path):
    a = report(tmp_path / "a", {"two_stage": BAD})
    fewer = report(tmp_path / "fewer", {"two_stage": BAD[:6]}, digest="x", n=3)
    other = report(tmp_path / "other", {"two_stage": BAD}, digest="y")
    with pytest.raises(CasesDifferError, match="4 cases against 3"):
        compare(a, fewer)
    with pytest.raises(CasesDifferError, match="other held-out items"):
        compare(a, other)


def test_unknown_method_and_damaged_files_are_named(tmp_path):
    a = report(tmp_path / "a", {"two_stage": BAD})
    with pytest.raises(CasesDifferError, match=r"'ease' of A .* has two_stage"):
        compare(a, a, "ease", "two_stage")
    whole = (a / CASE_FILE).read_bytes()
    for damaged in (b"PK", whole[: len(whole) // 2]):
        (a / CASE_FILE).write_bytes(damaged)
        with pytest.raises(RunInvalidError, match=r"cases\.npz: damaged"):
            compare(a, a)
    (a / CASE_FILE).unlink()
    with pytest.raises(RunInvalidError, match=r"cases\.npz: not there"):
        compare(a, a)
    (a / "evaluation.json").write_text("{}")
    with pytest.raises(RunInvalidError, match="older version"):
        compare(a, a)


def test_command_prints_a_table_or_one_object(tmp_path, runner):
    a = report(tmp_path / "a", {"two_stage": BAD, "ease": GOOD})
    done = runner.invoke(main, ["compare", str(a), str(a), "--method-b", "ease"])
    assert done.exit_code == 0, done.stderr
    assert "new_to_user, 4 cases" in done.stdout
    assert "ndcg@20" in done.stdout
    done = runner.invoke(main, ["compare", str(a), str(a), "--method-b", "ease", "--json"])
    found = json.loads(done.stdout)
    assert found["settings"]["new_to_user"]["metrics"]["ndcg@10"]["difference"] > 0
    (tmp_path / "c").mkdir()
    done = runner.invoke(main, ["compare", str(a), str(tmp_path / "c")])
    assert done.exit_code == 1
    assert "pocketrec evaluate" in done.stderr
    (tmp_path / "c" / "train_report.json").write_text("{}")
    done = runner.invoke(main, ["compare", str(a), str(tmp_path / "c")])
    assert done.exit_code == 2
    assert "--data" in done.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "damaged .not an object"),
        ('{"protocol": []}', "damaged .protocol is not an object"),
        ('{"protocol": null}', "damaged .protocol is not an object"),
        ('{"protocol": {"cases_sha256": ["x"]}}', "damaged .protocol.cases_sha256 is not an obj"),
        ('{"protocol": {}}', "older version"),
        ("[" * 100_000, "damaged"),
    ],
)
def test_evaluation_of_a_wrong_shape_is_refused(tmp_path, text, told):
    a = report(tmp_path / "a", {"two_stage": BAD})
    (a / "evaluation.json").write_text(text)
    with pytest.raises(RunInvalidError, match=rf"evaluation\.json: .*{told}.* Evaluate again"):
        compare(a, a)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_out_of_bounds_is_wrong_usage(tmp_path, runner, seed):
    a = report(tmp_path / "a", {"two_stage": BAD})
    for words in (["compare", str(a), str(a)], ["bench", "demo", "--json", str(tmp_path / "x")]):
        done = runner.invoke(main, [*words, "--seed", str(seed)])
        assert (done.exit_code, "--seed" in done.stderr) == (2, True)
