import json
import subprocess
import time

import pytest

from benchmarks import harness
from pocketrec_bundle.errors import InputError


def test_percentiles_of_a_known_series():
    found = harness.percentiles([float(each) for each in range(1, 102)])
    assert found == {"p50": 51.0, "p99": 100.0}


def test_percentiles_of_nothing_are_refused():
    with pytest.raises(InputError, match="no samples"):
        harness.percentiles([])


def test_document_is_one_json_object_with_the_agreed_keys():
    result = harness.Result(
        name="x", seed=7, rows=[{"what": "recall", "is": 0.5}], figures={"r": 0.5}
    )
    found = json.loads(json.dumps(harness.document(result)))
    keys = {"name", "date", "commit", "machine", "versions", "seed", "rows", "figures"}
    assert set(found) == keys
    assert time.strptime(found["date"], "%Y-%m-%d")
    assert found["figures"] == {"r": 0.5}
    assert found["rows"] == [{"what": "recall", "is": 0.5}]
    assert {"python", "numpy"} <= set(found["versions"])
    assert found["machine"]["cores"] >= 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_figure_that_json_cannot_hold_is_refused(value: float):
    result = harness.Result(name="x", seed=7, rows=[], figures={"loss": value})
    with pytest.raises(InputError, match="figure loss"):
        harness.document(result)


def test_commit_says_when_files_differ_from_it(tmp_path):
    def git(*words: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@t", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert harness.commit(tmp_path) == "unknown"
    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "one")
    assert harness.commit(tmp_path) == git("rev-parse", "HEAD")
    (tmp_path / "a").write_text("2")
    assert harness.commit(tmp_path) == git("rev-parse", "HEAD") + "+modified"
