"""The small twin: a ring of items, every variant on both runtimes, a few thousand rows."""

import pytest

from benchmarks.harness import Options, document
from benchmarks.phone import export
from benchmarks.support import command_line

pytest.importorskip("keras", reason="needs the train extra")

REAL_CALL = command_line.call

RECIPE = """
name = "export-twin"
seed = 3
[data]
interactions = "FOLDER/interactions.csv"
[columns]
user = "who"
item = "what"
timestamp = "when"
timestamp_unit = "s"
[retrieval]
dim = 32
blocks = 1
heads = 1
max_history = 10
epochs = 1
[ranker]
candidates = 20
epochs = 1
heads = ["engage"]
head_weights = [1.0]
[rerank]
slate = 5
[export]
golden_cases = 4
# The one gate that a clock decides: of models this small a busy machine says now this, now that.
[export.targets]
android = { latency_ratio = 1000.0 }
ios = { latency_ratio = 1000.0 }
web = { latency_ratio = 1000.0 }
legacy = { latency_ratio = 1000.0 }
"""


@pytest.fixture(scope="module")
def exports_in_children(in_process):
    """Run each export in a process of its own, as people do.

    Converters number what they make through the life of a process, so the bytes of an export that
    follows many others in one process can differ.
    """
    here = command_line.call

    def call(*words, **options):
        return (REAL_CALL if words[0] == "export" else here)(*words, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_line, "call", call)
        yield


@pytest.fixture(scope="module")
def result(tmp_path_factory, write_ring, exports_in_children):
    folder = tmp_path_factory.mktemp("export")
    recipe = write_ring(folder, 60, RECIPE)
    return export.run(Options(work=folder / "work"), recipe, items=3000)


def test_every_file_has_its_bytes_error_time_and_quality(result):
    here = ("ai-edge-litert", "onnxruntime")
    files = [r for r in result.rows if "model" in r and r["runtime"].startswith(here)]
    assert len(files) == 2 * (5 + 4)
    for row in files:
        assert row["status"] == "ok"
        assert row["bytes"] > 1000
        assert row["ms"] > 0
        assert 0 <= row["ndcg10"] <= 1
        assert row["variant"] not in ("fp32", "fp16") or row["hard_error"] < 0.1
    exact = {row["ndcg10"] for row in files if row["variant"] == "fp32"}
    assert max(exact) - min(exact) < 0.02  # the runtimes agree


def test_figures_are_those_of_the_files(result):
    figures = document(result)["figures"]
    tower = [
        row
        for row in result.rows
        if (row.get("model"), row.get("engine"), row.get("default"))
        == ("user_tower", "litert", True)
    ]
    assert figures["tower_bytes"] == tower[0]["bytes"]
    assert 0.99 < figures["tower_cosine"] <= 1.0
    assert 0.9 < figures["top100_overlap"] <= 1.0
    assert figures["export_s"] > 0
    assert figures["same_bytes"] == 1.0
    assert figures["verified"] == 1.0


def test_the_old_runtime_passes_over_what_it_cannot_load_and_runs_the_rest(result):
    old = [r for r in result.rows if str(r.get("runtime", "")).startswith("tflite-runtime")]
    if not old:
        pytest.skip("pip brings no tflite-runtime here")
    status = {(row["model"], row["variant"]): row["status"] for row in old}
    assert len(status) == 2 * 5
    assert status["user_tower", "fp16"] == status["ranker", "fp32"] == "ok"
    legacy = next(row for row in result.rows if row.get("target") == "legacy")
    assert status["user_tower", legacy["user_tower"]] == "ok"
    assert status["ranker", legacy["ranker"]] == "ok"


def test_the_large_bundle_holds_a_vector_an_item(result):
    sizes = {row["file"]: row["bytes"] for row in result.rows if "file" in row}
    drawn = [name for name in sizes if name.endswith(", random ids")]
    more = sum(sizes.pop(name) - sizes[name.partition(",")[0]] for name in drawn)
    figures = result.figures
    assert figures["bundle_bytes_1m_random_ids"] == figures["bundle_bytes_1m"] + more
    assert more > 3000
    assert sizes["index/rows"] == 64 + 3000 * 32
    shipped = {
        (model, row["engine"], row[model])
        for row in result.rows
        if "target" in row
        for model in ("user_tower", "ranker")
    }
    models = {
        (row["model"], row["engine"], row["variant"]): row["bytes"]
        for row in result.rows
        if "model" in row
    }
    without = sum(sizes.values()) - sizes["catalogue.sqlite"]
    assert result.figures["bundle_bytes_1m"] == without + sum(models[key] for key in shipped)
