"""The cases of a split are counted by kind."""

import json

import numpy as np

from pocketrec.cli import main
from pocketrec_training.data.dataset import TEST, TRAIN, VALID, Dataset, Items
from pocketrec_training.data.splits.cases import FoldCases, split_cases


def test_cases_are_counted_by_kind():
    items = Items(
        ids=["a", "b", "c"],
        titles=["a", "b", "c"],
        categories=[(), (), ()],
        price=np.zeros(3, np.float32),
        year=np.zeros(3, np.float32),
    )
    data = Dataset(
        items=items,
        user_ids=["old", "new"],
        offsets=np.array([0, 5, 7]),
        rows=np.array([0, 1, 1, 2, 0, 1, 1], np.int32),
        events=np.zeros(7, np.int32),
        ts=np.array([0, 1, 1, 3, 4, 5, 6]),
        fold=np.array([TRAIN, TRAIN, VALID, TEST, TEST, TEST, TEST], np.int8),
    )
    found = split_cases(data)
    assert found["validation"] == FoldCases(
        users=1, without_history=0, targets=1, repeats=1, tied=1
    )
    assert found["test"] == FoldCases(users=2, without_history=1, targets=2, repeats=1, tied=0)
    assert found["test"].sentence("test") == (
        "test: 1 users with history and 1 without; 1 items new to the user, 1 repeats"
    )
    assert found["validation"].sentence("validation").endswith("1 repeats; 1 cases tied in time")


def test_data_prints_the_cases_and_reports_them_as_json(tmp_path, runner):
    """Ann's and Bob's last two events are held out; Bob's have one time; Cy has too few."""
    (tmp_path / "r.toml").write_text(
        'name = "t"\n[data]\ninteractions = "i.csv"\n[columns]\nuser = "user"\nitem = "item"\n'
        'timestamp = "time"\ntimestamp_unit = "s"\n[split]\nmin_user_events = 3\n'
    )
    rows = ["ann,a,1", "ann,b,2", "ann,a,3", "bob,a,1", "bob,b,5", "bob,c,5", "cy,a,9"]
    (tmp_path / "i.csv").write_text("\n".join(["user,item,time", *rows]))
    words = ["data", str(tmp_path / "r.toml"), "--source", str(tmp_path)]
    words += ["--out", str(tmp_path / "out")]
    found = json.loads(runner.invoke(main, [*words, "--json"]).stdout)["cases"]
    assert found["test"] == {
        "users": 2,
        "without_history": 0,
        "targets": 2,
        "repeats": 1,
        "tied": 1,
    }
    shown = runner.invoke(main, words).stdout
    assert "test: 2 users with history and 0 without; 1 items new to the user, 1 repeats" in shown
    assert "1 repeats; 1 cases tied in time\n" in shown
