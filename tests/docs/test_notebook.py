"""The quick start notebook runs, and its source holds no output."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path("docs", "quickstart.ipynb")


@pytest.fixture(scope="module")
def notebook(repository: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((repository / NOTEBOOK).read_text(encoding="utf-8"))
    return value


def test_notebook_is_stored_without_outputs(notebook):
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code
    assert [cell["outputs"] for cell in code] == [[]] * len(code)
    assert [cell["execution_count"] for cell in code] == [None] * len(code)
    assert notebook["nbformat"] == 4
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])


def test_every_cell_runs_from_tables_to_an_offline_slate(repository: Path, tmp_path: Path):
    pytest.importorskip("tensorflow", reason="needs the train extra")
    pytest.importorskip("onnxruntime", reason="needs an engine")
    places = [str(Path(place).resolve()) for place in sys.path if place]
    done = subprocess.run(
        [
            sys.executable,
            str(repository / "tests/support/notebook_child.py"),
            str(repository / NOTEBOOK),
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(places),
            "TMPDIR": str(tmp_path),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["source"] == "model"
    assert len(result["before"]) == len(result["after"]) == 5
    # The three purchases are of "space", so that genre fills more of the next slate.
    space = [sum("Space" in title for title in result[when]) for when in ("before", "after")]
    assert space[1] > space[0]
