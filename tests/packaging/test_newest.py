"""What `make newest` asks pip for, and the report of what differs from the lock."""

import doctest
import importlib.util
import re

import pytest

PYPROJECT = """
[project]
dependencies = ["numpy>=1.26"]
[project.optional-dependencies]
train = ["duckdb>=1.4,<2", "tensorflow-cpu==2.21.0; sys_platform != 'darwin'", "ibis[duckdb]~=12.1"]
edge = ["tuf>=6.0"]
server = ["tuf>=6.0", "flask!=3.0.1,>=3"]
events = []
docs = []
dev = ["hatchling"]
onnx = ["onnxruntime"]
"""


@pytest.fixture(scope="module")
def newest(repository):
    spec = importlib.util.spec_from_file_location("newest", repository / ".ci" / "newest.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_requirements_are_those_of_the_extras_with_or_without_caps(newest):
    assert list(newest.requirements(PYPROJECT, caps=True)) == [
        "numpy>=1.26",
        "duckdb<2,>=1.4",
        'tensorflow-cpu==2.21.0; sys_platform != "darwin"',
        "ibis[duckdb]~=12.1",
        "tuf>=6.0",
        "flask!=3.0.1,>=3",
        "hatchling",
    ]
    assert list(newest.requirements(PYPROJECT, caps=False)) == [
        "numpy>=1.26",
        "duckdb>=1.4",
        'tensorflow-cpu>=2.21.0; sys_platform != "darwin"',
        "ibis[duckdb]>=12.1",
        "tuf>=6.0",
        "flask!=3.0.1,>=3",
        "hatchling",
    ]


def test_no_requirement_of_the_project_keeps_a_cap(newest, repository):
    lines = list(newest.requirements((repository / "pyproject.toml").read_text(), caps=False))
    assert any(line.startswith("duckdb>=") for line in lines)
    assert not [line for line in lines if re.search(r"[<~]|==", line.partition(";")[0])]


def test_the_report_names_what_differs_from_the_lock(newest):
    lock = "a-b==1.0 \\\n    --hash=sha256:00\n    # via c==9\nc==2\ngone==3\n"
    found = list(newest.differences(lock, [("A_B", "1.1"), ("c", "2"), ("new", "4")]))
    assert [line.split() for line in found] == [
        ["a-b", "1.0", "1.1"],
        ["gone", "3", "-"],
        ["new", "-", "4"],
    ]


def test_the_examples_run(newest):
    assert doctest.testmod(newest).failed == 0


def test_ci_does_not_call_it(repository):
    assert "newest" not in (repository / ".ci" / "run").read_text()
    assert "newest.py" in (repository / "Makefile").read_text()
