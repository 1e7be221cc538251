"""Python's reader gives the code of every bad bundle; each of its checks refuses one of them."""

import ast
import json
import re
import traceback
from pathlib import Path

import pytest

from pocketrec_export.conformance.bad_bundles import EXPECTED, bundles, refusal, write_bad_bundles
from pocketrec_export.conformance.defects import DEFECTS
from pocketrec_export.conformance.defects.defect import STEPS

OTHER = {"delta", "experiment_sums", "experiments", "rollout", "halts"}
"""Codes of faults outside bundles."""
NO_READERS = {"copies", "delta", "files", "halts", "locks", "rollout", "writer"}
NO_READERS |= {"app_versions", "experiment", "experiment_arms", "experiment_sums"}
NO_READERS |= {"experiments", "form", "heads", "release_guardrails"}
NO_READERS |= {"set_proof"}  # readers leave model sets out; a sync and a publish read them
"""Modules that refuse faults outside bundles."""
RACES = {("arrays.py", "cannot be read"), ("reader.py", "cannot be read")}
"""Refusals of a file that goes between two looks at it: no folder can show them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("bad") / "bundles"
    assert write_bad_bundles(out) == len(DEFECTS) + 3
    return out


@pytest.fixture(scope="module")
def expected(folder):
    found = json.loads((folder / EXPECTED).read_bytes())
    assert found["version"] == 1
    return {each["folder"]: each for each in found["bundles"]}


@pytest.fixture(scope="module")
def refused(folder, expected):
    return {name: refusal(folder / name) for name in expected}


def test_every_bad_bundle_is_refused_with_its_code_at_its_step(expected, refused):
    assert len(expected) > 240
    wanted = {name: (each["step"], each["code"]) for name, each in expected.items()}
    found = {
        name: (None, None) if one is None else (one.step, one.code) for name, one in refused.items()
    }
    assert found == wanted
    assert {name for name, one in refused.items() if one is None} == {
        "sound-version-1",
        "sound-version-2",
        "sound-version-3",
    }


def test_every_code_of_the_page_is_given_by_some_bundle(repository, expected):
    page = (repository / "bundle" / "FORMAT.md").read_text()
    section = page.partition("\n## Error codes\n")[2].partition("\n## ")[0]
    stated = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert {each["code"] for each in expected.values()} - {None} == stated - OTHER
    assert {each["step"] for each in expected.values()} - {None} == set(STEPS)
    assert all(each["fault"] for each in expected.values())


def test_every_refusal_in_the_reader_s_code_is_met_by_some_bundle(repository, refused):
    last = [traceback.extract_tb(one.error.__traceback__)[-1] for one in refused.values() if one]
    met = {(Path(frame.filename).name, frame.lineno) for frame in last}
    room = sorted((repository / "bundle").rglob("*.py"))
    paths = [path for path in room if path.stem not in NO_READERS]
    unmet, n = [], 0
    for path in [*paths, repository / "edge_runtime/pocketrec_edge/releases/stages.py"]:
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)):
                continue
            if getattr(node.exc.func, "id", "") not in ("BundleInvalidError", "BundleTooNewError"):
                continue
            said, n = ast.get_source_segment(text, node), n + 1
            assert said is not None and node.end_lineno is not None
            if any(path.name == name and part in said for name, part in RACES):
                continue
            if not any((path.name, at) in met for at in range(node.lineno, node.end_lineno + 1)):
                unmet.append(f"{path.name}:{node.lineno}")
    assert n > 100
    assert unmet == []


def test_the_same_bytes_are_made_each_time():
    one, two = ([(told, made) for told, _, made in bundles()] for _ in range(2))
    assert one == two
    assert len({told["folder"] for told, _ in one}) == len(one)


def test_the_command_writes_them_to_a_new_folder_only(runner, tmp_path, monkeypatch):
    from pocketrec.cli import main
    from pocketrec_export.conformance import bad_bundles

    monkeypatch.setattr(bad_bundles, "DEFECTS", DEFECTS[:2])
    out = tmp_path / "out"
    done = runner.invoke(main, ["bad-bundles", "--out", str(out)])
    assert done.exit_code == 0 and "5 bundles" in done.output
    listed = json.loads((out / EXPECTED).read_bytes())["bundles"]
    assert [each["code"] for each in listed] == [None, None, None, *(d.code for d in DEFECTS[:2])]
    assert runner.invoke(main, ["bad-bundles", "--out", str(out)]).exit_code == 2
