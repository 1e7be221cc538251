import json
import re
import shutil

import numpy as np
import pytest

from pocketrec.cli import main
from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.engines.select import open_engine
from pocketrec_edge.errors import EngineError
from pocketrec_edge.releases import verify as under_test
from pocketrec_edge.releases.parity import HUGE
from pocketrec_edge.releases.verify import verify


def test_every_file_is_checked_on_its_runtime_and_exact_ones_agree(quantized_release):
    found = verify(open_bundle(quantized_release))
    assert found.passed
    checked = {(f.model, f.engine, f.variant) for f in found.files}
    assert len(checked) == len(found.files) == 2 * 2 * 3
    for file in found.files:
        assert file.status == "ok"
        assert file.ms > 0
        if file.variant == "fp32":
            assert file.max_error < 1e-5
            assert file.overlap == pytest.approx(1.0)
            assert file.cosine == pytest.approx(1.0)
            assert file.rank_correlation == pytest.approx(1.0, abs=1e-3)  # scores nearly tie
    by_variant = {f.variant: f for f in found.files if (f.model, f.engine) == MODEL}
    assert by_variant["fp32"].max_error < by_variant["fp16"].max_error
    assert by_variant["fp16"].max_error < by_variant["dynamic"].max_error < 0.1
    assert [s.cases for s in found.slates] == [2, 2]


MODEL = ("user_tower", "litert")


class Spoilt:
    """An engine that answers nan where an input holds a huge number."""

    def __init__(self, engine):
        self.engine = engine

    def run(self, inputs):
        answer = self.engine.run(inputs)
        huge = any(np.abs(value).max() >= HUGE for value in inputs.values())
        return np.full_like(answer, np.nan) if huge else answer


def test_a_default_file_without_finite_numbers_fails_by_name(release, monkeypatch):
    real = open_engine
    monkeypatch.setattr(under_test, "open_engine", lambda *a, **k: Spoilt(real(*a, **k)))
    found = verify(release)
    assert not found.passed
    assert all(f.status == "failed" for f in found.files)
    notes = {f.model: f.note for f in found.files}
    assert notes["user_tower"] == "not finite on: very old events"
    assert notes["ranker"] == "not finite on: huge numbers"


def test_a_file_that_the_runtime_refuses_fails_and_the_others_go_on(release, monkeypatch):
    real = open_engine

    def refuse_ranker(path, engine, threads=1):
        if engine == "onnx" and path == release.path("models/ranker.onnx.fp32"):
            raise EngineError("refused on purpose")
        return real(path, engine, threads)

    monkeypatch.setattr(under_test, "open_engine", refuse_ranker)
    found = verify(release)
    failed = [f for f in found.files if f.status == "failed"]
    assert [(f.model, f.engine, f.note) for f in failed] == [
        ("ranker", "onnx", "refused on purpose")
    ]
    assert not found.passed


def test_a_runtime_that_is_too_old_passes_a_file_over(release, monkeypatch):
    monkeypatch.setattr(under_test, "runtime_version", lambda engine: "0.1" * (engine == "onnx"))
    found = verify(release)
    over = [f for f in found.files if f.status == "passed over"]
    assert {f.engine for f in over} == {"onnx"}
    assert all(f.note.startswith("needs runtime") for f in over)


def test_no_runtime_is_told(release, monkeypatch):
    monkeypatch.setattr(under_test, "runtime", lambda _engine: "")
    with pytest.raises(EngineError, match="pip install"):
        verify(release)


def test_the_command_prints_a_table_and_says_by_its_exit_code(runner, small_release, tmp_path):
    done = runner.invoke(main, ["verify", str(small_release)])
    assert done.exit_code == 0, done.output
    assert len(re.findall(r"2 golden requests on .*: passed", done.output)) == 2
    assert done.output.count("  pair ") == 2
    assert done.output.count(", default") == 4
    other = shutil.copytree(small_release, tmp_path / "other")
    spoil_golden(other)
    done = runner.invoke(main, ["verify", str(other), "--json"])
    assert done.exit_code == 3
    found = json.loads(done.output)
    assert not found["passed"]
    assert "user vector is off" in found["slates"][0]["note"]


def spoil_golden(folder) -> None:
    """Change an expected vector and hash the file again: a release that is signed, yet wrong."""
    import hashlib

    manifest = json.loads((folder / "manifest.json").read_bytes())
    entry = next(e for e in manifest["files"] if e["name"] == "golden.json")
    value = json.loads((folder / "files" / entry["sha256"]).read_bytes())
    value["cases"][0]["user_vector"][0] += 1.0
    data = canonical_json(value)
    entry |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / "files" / entry["sha256"]).write_bytes(data)
    (folder / "manifest.json").write_bytes(canonical_json(manifest))
