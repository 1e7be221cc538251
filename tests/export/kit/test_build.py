import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("onnx", reason="needs the train extra")

from pocketrec.cli import main
from pocketrec.commands.model.export import command
from pocketrec_bundle.declared.item_features import column_names
from pocketrec_bundle.errors import BundleInvalidError, InputError, PocketRecError
from pocketrec_bundle.golden.vectors import Golden
from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_edge.engines.select import is_older
from pocketrec_edge.errors import EngineError
from pocketrec_edge.releases.selftest import replay
from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle
from pocketrec_export.errors import GateRefusedError
from pocketrec_export.kit import build as kit
from pocketrec_export.kit import versions as kit_versions
from pocketrec_export.kit.build import kit_of_run, write_kit
from pocketrec_export.kit.facts import facts_of
from pocketrec_export.kit.languages import KOTLIN, SWIFT, TYPESCRIPT, Language
from pocketrec_export.kit.sources import PLATFORMS
from pocketrec_export.models.operators import onnx_operators, tflite_operators

ENGINES = {"android": "litert", "ios": "onnx", "web": "onnx"}
SOURCES = {target: next(iter(platform.files)) for target, platform in PLATFORMS.items()}
ROOT = {"signatures": [], "signed": {"_type": "root", "version": 1}}


@pytest.fixture(scope="module")
def kits(bundle_dir: Path, tmp_path_factory) -> dict[str, Path]:
    """The kit of the bundle for each target; tests must not change them."""
    folder = tmp_path_factory.mktemp("kits")
    for target in PLATFORMS:
        write_kit(bundle_dir, target, folder / target)
    return {target: folder / target for target in PLATFORMS}


def release_of(kits: dict[str, Path], target: str) -> Bundle:
    return open_bundle(kits[target] / PLATFORMS[target].resources / "pocketrec")


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def with_meta(bundle: Path, change) -> Path:
    """Rewrite the facts of a bundle's models: `change` gets the meta of each."""
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    for entry in manifest["files"]:
        if entry["kind"] == "model":
            change(entry["meta"])
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle


@pytest.mark.parametrize(("target", "engine"), ENGINES.items())
def test_the_release_in_a_kit_opens_and_proves_itself(kits, bundle_dir, target, engine):
    release, whole = release_of(kits, target), open_bundle(bundle_dir)
    models = [e for e in release.manifest.files if e.kind == "model"]
    assert [(e.meta["model"], e.meta["engine"], e.meta["default"]) for e in models] == [
        ("ranker", engine, 1),
        ("user_tower", engine, 1),
    ]
    assert all(target in str(whole.manifest.entry(e.name).meta["targets"]) for e in models)
    assert replay(release, engine) == len(Golden.of(whole).cases) > 0


@pytest.mark.parametrize("target", PLATFORMS)
def test_all_else_of_the_bundle_is_there_but_the_cards(kits, bundle_dir, target):
    whole, files = open_bundle(bundle_dir).manifest.files, release_of(kits, target).manifest.files
    assert [e for e in files if e.kind != "model"] == [
        e for e in whole if e.kind not in ("model", "card")
    ]
    stored = (kits[target] / PLATFORMS[target].resources / "pocketrec" / "files").iterdir()
    assert {path.name for path in stored} == {e.sha256 for e in files}


@pytest.mark.parametrize("target", PLATFORMS)
def test_same_bundle_same_bytes(kits, bundle_dir, target, tmp_path):
    write_kit(bundle_dir, target, tmp_path / "again")
    assert tree(tmp_path / "again") == tree(kits[target])


@pytest.mark.parametrize("target", PLATFORMS)
def test_the_readme_names_every_file_and_no_other(kits, target):
    files = tree(kits[target])
    text = files["README.md"].decode()
    resources = f"{PLATFORMS[target].resources}/pocketrec/"
    named = set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))
    known = {*named, *PLATFORMS[target].files}
    assert {path for path in files if not path.startswith(resources)} <= known
    assert {name for name in named if name != resources} <= set(files)
    assert max(map(len, text.splitlines())) < 250
    assert "{{" not in text and "{%" not in text


# How each language writes a text, a constant, a list and the elements of the other lists.
TEXT = r'("(?:[^"\\]|\\.)*")'
CONSTANT = {
    "android": r"const val (\w+): \w+ = (.+)$",
    "ios": r"public static let (\w+): (?:String|Int|Int64|Double|Bool) = (.+)$",
    "web": r"export const (\w+): (?:string|number|boolean) = (.+);$",
}
LIST = {
    "android": r"val {}: List<String> = listOf\((.*?)\n    \)",
    "ios": r"static let {}: \[String\] = \[(.*?)\n    \]",
    "web": r"export const {} = \[(.*?)\n\] as const",
}
EVENT = {
    "android": rf"EventType\({TEXT}, (\d+)\)",
    "ios": rf"EventType\(name: {TEXT}, code: (\d+)\)",
    "web": rf"\{{ name: {TEXT}, code: (\d+) \}}",
}
HEAD = {
    "android": rf"Head\({TEXT}, ([\d.e-]+)\)",
    "ios": rf"Head\(name: {TEXT}, weight: ([\d.e-]+)\)",
    "web": rf"\{{ name: {TEXT}, weight: ([\d.e-]+) \}}",
}
FILE = {
    "android": rf"ReleaseFile\({TEXT}, {TEXT}, (\d+)L\)",
    "ios": rf"ReleaseFile\(name: {TEXT}, sha256: {TEXT}, bytes: (\d+)\)",
    "web": rf"\{{ name: {TEXT}, sha256: {TEXT}, bytes: (\d+) \}}",
}
TENSOR = {
    "android": rf"Tensor\({TEXT}, {TEXT}, listOf\(([\d, ]+)\)\)",
    "ios": rf"Tensor\(name: {TEXT}, dtype: {TEXT}, shape: \[([\d, ]+)\]\)",
    "web": rf"\{{ name: {TEXT}, dtype: {TEXT}, shape: \[([\d, ]+)\] \}}",
}


@pytest.mark.parametrize("target", PLATFORMS)
def test_constants_are_those_of_the_bundle(kits, target):
    release, language = release_of(kits, target), PLATFORMS[target].language
    spec, golden = release.spec, Golden.of(release)
    source = (kits[target] / SOURCES[target]).read_text()
    found = dict(re.findall(CONSTANT[target], source, re.MULTILINE))
    wanted = {
        "format_version": release.manifest.format_version,
        "release": release.manifest.name,
        "recipe": release.manifest.recipe_name,
        "created_utc": release.manifest.created_utc,
        "folder": "pocketrec",
        "engine": ENGINES[target],
        "items": 40,
        "dim": 32,
        "max_history": 6,
        "max_categories": spec.max_categories,
        "categories": len(spec.categories),
        "candidates": 16,
        "recent": spec.recent,
        "neighbours": 4,
        "neighbour_decay": spec.neighbour_decay,
        "neighbour_candidates": 4,
        "own_candidates": spec.own_candidates,
        "policy_slate": 5,
        "policy_category_cap": release.policy.category_cap,
        "policy_near_duplicate_cosine": release.policy.near_duplicate_cosine,
        "policy_probes": release.policy.probes,
        "policy_candidates": release.policy.candidates,
        "policy_repeats": release.policy.repeats,
        "golden_cases": len(golden.cases),
        "golden_vector_tolerance": golden.vector_tolerance,
        "golden_score_tolerance": golden.score_tolerance,
    }
    assert {name: json.loads(text.removesuffix("L")) for name, text in found.items()} == {
        language.name(name): value for name, value in wanted.items()
    }
    for name in ("context", "pair", "numeric"):
        (inside,) = re.findall(LIST[target].format(language.name(name)), source, re.DOTALL)
        assert [json.loads(text) for text in re.findall(TEXT, inside)] == list(getattr(spec, name))
    events = [(json.loads(name), int(code)) for name, code in re.findall(EVENT[target], source)]
    assert events == [(name, code) for code, name in enumerate(spec.event_types)]
    heads = [(json.loads(name), float(weight)) for name, weight in re.findall(HEAD[target], source)]
    assert heads == list(zip(spec.heads, spec.head_weights, strict=True))
    files = {json.loads(n): (json.loads(s), int(b)) for n, s, b in re.findall(FILE[target], source)}
    assert files == {e.name: (e.sha256, e.bytes) for e in release.manifest.files}


@pytest.mark.parametrize(
    ("target", "type_of", "separator"),
    [
        ("android", r"enum class {}Column \{{(.*?)\}}", ","),
        ("ios", r"enum {}Column: Int, CaseIterable, Sendable \{{(.*?)\}}", "case "),
    ],
)
def test_columns_are_a_type_in_their_order(kits, target, type_of, separator):
    release, name = release_of(kits, target), PLATFORMS[target].language.name
    source = (kits[target] / SOURCES[target]).read_text()
    for field in ("context", "pair"):
        (inside,) = re.findall(type_of.format(field.capitalize()), source, re.DOTALL)
        cases = [case.strip() for case in inside.split(separator) if case.strip()]
        assert cases == [name(column) for column in getattr(release.spec, field)]


@pytest.mark.parametrize("target", PLATFORMS)
def test_tensors_of_both_models_are_those_of_the_format(kits, target):
    release = release_of(kits, target)
    spec, b = release.spec, release.spec.candidates
    wanted = {
        "user_tower": {
            "history_vectors": ("f32", [1, spec.max_history, spec.dim]),
            "history_events": ("i32", [1, spec.max_history]),
            "history_ages_s": ("f32", [1, spec.max_history]),
            "history_length": ("i32", [1]),
        },
        "ranker": {
            "user_vector": ("f32", [1, spec.dim]),
            "item_vectors": ("f32", [b, spec.dim]),
            "item_categories": ("i32", [b, spec.max_categories]),
            "item_numeric": ("f32", [b, len(spec.numeric)]),
            "context": ("f32", [1, len(spec.context)]),
            "pair": ("f32", [b, len(spec.pair)]),
        },
    }
    outputs = {
        "user_tower": [("f32", [1, spec.dim])],
        "ranker": [("f32", [b, len(spec.heads)])],
    }
    source = (kits[target] / SOURCES[target]).read_text()
    listed = [
        (json.loads(name), json.loads(dtype), json.loads(f"[{shape}]"))
        for name, dtype, shape in re.findall(TENSOR[target], source)
    ]
    for model in facts_of(release, "pocketrec").models:
        inputs = {t.name: (t.dtype, list(t.shape)) for t in model.inputs}
        assert inputs == wanted[model.name]
        assert [(t.dtype, list(t.shape)) for t in model.outputs] == outputs[model.name]
        for tensor in (*model.inputs, *model.outputs):
            assert (tensor.name, tensor.dtype, list(tensor.shape)) in listed
    assert len(listed) == 4 + 1 + 6 + 1


@pytest.mark.parametrize("target", PLATFORMS)
def test_operators_are_listed_for_both_models(kits, target):
    release = release_of(kits, target)
    rows = (kits[target] / "operators.txt").read_text().splitlines()[1:]
    found: dict[str, dict[str, int]] = {"user_tower": {}, "ranker": {}}
    for row in rows:
        model, operator, version = row.split("\t")
        found[model][operator] = int(version)
    read = tflite_operators if ENGINES[target] == "litert" else onnx_operators
    for entry in release.manifest.files:
        if entry.kind == "model":
            assert found[str(entry.meta["model"])] == read(release.read(entry.name)) != {}


@pytest.mark.parametrize("target", ["ios", "web"])
@pytest.mark.parametrize("model", ["user_tower", "ranker"])
def test_the_ort_twin_answers_as_the_model_does(kits, target, model):
    ort = pytest.importorskip("onnxruntime", reason="needs the train extra")
    release = release_of(kits, target)
    (entry,) = release.manifest.models(model, "onnx")
    one = ort.InferenceSession(release.read(entry.name), providers=["CPUExecutionProvider"])
    two = ort.InferenceSession(
        (kits[target] / "ort" / f"{model}.ort").read_bytes(), providers=["CPUExecutionProvider"]
    )
    rng = np.random.default_rng(0)
    values = {
        i.name: rng.uniform(0, 2, i.shape).astype(np.int32 if "int32" in i.type else np.float32)
        for i in one.get_inputs()
    }
    expected, found = one.run(None, values)[0], two.run(None, values)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(expected).max() > 0


def test_only_kits_of_onnx_have_the_files_of_its_builds(kits):
    def of_ort(target: str) -> set[str]:
        return {p for p in tree(kits[target]) if p.startswith("ort/") or p.endswith(".config")}

    wanted = {"ort/user_tower.ort", "ort/ranker.ort", "required_operators.config"}
    assert of_ort("android") == set()
    assert of_ort("ios") == of_ort("web") == wanted


def test_runtimes_that_kits_name_run_the_models(kits):
    for target, version in (
        ("ios", kit_versions.ONNXRUNTIME_SWIFT),
        ("web", kit_versions.ONNXRUNTIME_WEB),
        ("ios", kit_versions.ONNXRUNTIME_ANDROID),
    ):
        for entry in release_of(kits, target).manifest.files:
            assert not is_older(version, str(entry.meta.get("min_runtime", "")))
    assert kit_versions.ONNXRUNTIME_SWIFT in (kits["ios"] / "Package.swift").read_text()
    package = json.loads((kits["web"] / "package.json").read_text())
    assert package["dependencies"] == {"onnxruntime-web": kit_versions.ONNXRUNTIME_WEB}
    gradle = (kits["android"] / "build.gradle.kts").read_text()
    assert f'"com.google.ai.edge.litert:litert:{kit_versions.LITERT_ANDROID}"' in gradle


@pytest.mark.parametrize(
    ("target", "engine", "told"),
    [
        ("android", "onnx", ("build.gradle.kts", "com.microsoft.onnxruntime:onnxruntime-android")),
        ("ios", "litert", ("README.md", "TensorFlowLiteSwift")),
        ("web", "litert", ("package.json", "@litertjs/core")),
    ],
)
def test_a_recipe_may_choose_the_other_engine(own_bundle, tmp_path, target, engine, told):
    def swap(meta):
        meta["targets"] = target if meta["engine"] == engine else "legacy"

    report = write_kit(with_meta(own_bundle, swap), target, tmp_path / "kit")
    path, words = told
    assert report.engine == engine
    assert words in (tmp_path / "kit" / path).read_text()
    assert (tmp_path / "kit" / "ort").exists() == (engine == "onnx")
    if target == "ios":
        assert "dependencies" not in (tmp_path / "kit" / "Package.swift").read_text()


def test_a_bundle_from_before_targets_gives_the_engines_default(own_bundle, tmp_path):
    with_meta(own_bundle, lambda meta: meta.pop("targets", None))
    manifest = open_bundle(own_bundle).manifest
    for target, engine in ENGINES.items():
        report = write_kit(own_bundle, target, tmp_path / target)
        assert report.user_tower == manifest.models("user_tower", engine)[0].name
        assert report.ranker == manifest.models("ranker", engine)[0].name


def test_a_bundle_without_files_for_the_target_says_what_it_has(own_bundle, tmp_path):
    with_meta(own_bundle, lambda meta: meta.update(targets="android,legacy"))
    before = tree(tmp_path)
    with pytest.raises(InputError, match=r"no models for ios; it has android, legacy\. .*recipe"):
        write_kit(own_bundle, "ios", tmp_path / "kit")
    assert tree(tmp_path) == before


def test_a_model_shipped_in_spite_of_a_gate_is_told(own_bundle, kits, tmp_path):
    with_meta(own_bundle, lambda meta: meta.update(forced=1))
    write_kit(own_bundle, "web", tmp_path / "kit")
    assert "A gate refused" in (tmp_path / "kit" / "README.md").read_text()
    assert "A gate refused" not in (kits["web"] / "README.md").read_text()


@pytest.mark.parametrize("target", PLATFORMS)
def test_a_pinned_root_lies_beside_the_manifest(bundle_dir, tmp_path, target):
    root = tmp_path / "1.root.json"
    root.write_text(json.dumps(ROOT))
    write_kit(bundle_dir, target, tmp_path / "kit", root=root)
    folder = tmp_path / "kit" / PLATFORMS[target].resources / "pocketrec"
    assert (folder / "root.json").read_bytes() == root.read_bytes()
    assert "root.json" in (tmp_path / "kit" / "README.md").read_text()
    open_bundle(folder)


@pytest.mark.parametrize("text", ['{"signed": {"_type": "targets"}}', "[]", "no json", None])
def test_what_is_no_root_is_refused_and_nothing_is_left(bundle_dir, tmp_path, text):
    if text is not None:
        (tmp_path / "r.json").write_text(text)
    before = tree(tmp_path)
    with pytest.raises(InputError, match=r"r\.json"):
        write_kit(bundle_dir, "web", tmp_path / "kit", root=tmp_path / "r.json")
    assert tree(tmp_path) == before
    assert not (tmp_path / "kit").exists()


def test_an_existing_folder_is_replaced_whole_and_only_with_force(bundle_dir, kits, tmp_path):
    out = tmp_path / "kit"
    out.mkdir()
    (out / "old").write_text("kept")
    with pytest.raises(InputError, match="--force"):
        write_kit(bundle_dir, "web", out)
    assert tree(tmp_path) == {"kit/old": b"kept"}
    write_kit(bundle_dir, "web", out, force=True)
    assert tree(out) == tree(kits["web"])
    assert [path.name for path in tmp_path.iterdir()] == ["kit"]


def test_a_kit_never_takes_the_place_of_its_own_bundle(own_bundle, tmp_path):
    before = tree(tmp_path)
    for out in (own_bundle, own_bundle.parent):
        with pytest.raises(InputError, match="would replace"):
            write_kit(own_bundle, "web", out, force=True)
    assert tree(tmp_path) == before


def test_a_damaged_bundle_leaves_nothing(own_bundle, tmp_path):
    entry = open_bundle(own_bundle).manifest.entry("index/rows")
    (own_bundle / "files" / entry.sha256).write_bytes(b"")
    before = tree(tmp_path)
    with pytest.raises(BundleInvalidError, match="index/rows"):
        write_kit(own_bundle, "web", tmp_path / "kit")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("target", PLATFORMS)
def test_a_model_that_no_runtime_loads_leaves_nothing(own_bundle, tmp_path, target):
    manifest = json.loads((own_bundle / "manifest.json").read_bytes())
    for entry in manifest["files"]:
        if entry["kind"] == "model":
            entry |= {"sha256": hashlib.sha256(b"no model").hexdigest(), "bytes": 8}
            (own_bundle / "files" / entry["sha256"]).write_bytes(b"no model")
    (own_bundle / "manifest.json").write_text(json.dumps(manifest))
    before = tree(tmp_path)
    with pytest.raises(EngineError, match="cannot load"):
        write_kit(own_bundle, target, tmp_path / "kit")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("step", ["render", "to_ort", "replace_dir"])
def test_a_failure_at_any_step_leaves_the_old_kit(bundle_dir, tmp_path, monkeypatch, step):
    def fail(*_args, **_more):
        raise OSError(28, "No space left on device")

    out = tmp_path / "kit"
    out.mkdir()
    (out / "old").write_text("kept")
    monkeypatch.setattr(kit, step, fail)
    with pytest.raises(PocketRecError, match="no space left"):
        write_kit(bundle_dir, "ios", out, force=True)
    assert tree(tmp_path) == {"kit/old": b"kept"}


def test_killed_at_any_step_the_old_kit_stays_or_the_new_is_there(
    run_python, repository, bundle_dir, kits, tmp_path
):
    """SIGKILL before some of the steps that touch the disk; then the same again, to its end."""
    out = tmp_path / "kit"
    out.mkdir()
    (out / "old").write_text("kept")
    done = run_python(
        "import hashlib, json\n"
        "from benchmarks.support import kill_steps\n"
        "from pathlib import Path\n"
        "from pocketrec_export.kit.build import write_kit\n"
        f"base, out = Path({str(bundle_dir)!r}), Path({str(out)!r})\n"
        "job = lambda: write_kit(base, 'web', out, force=True)\n"
        "code, step = -9, 0\n"
        "while code == -9:\n"
        "    code = kill_steps.forked(job, step)\n"
        "    print(code, (out / 'old').exists(), (out / 'package.json').exists())\n"
        "    step += 17\n"
        "print(kill_steps.forked(job, None))\n",
        PYTHONPATH=os.pathsep.join(sys.path),
    )
    assert done.returncode == 0, done.stderr
    *killed, last, again = done.stdout.splitlines()
    assert set(killed) <= {"-9 True False", "-9 False True"}
    assert killed.count("-9 True False") >= 5
    assert (last, again) == ("0 False True", "0")
    assert tree(tmp_path) == {f"kit/{path}": data for path, data in tree(kits["web"]).items()}


def test_full_disk_is_one_message_and_the_old_kit_stays(tiny_disk, bundle_dir, tmp_path):
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "old").write_text("kept")
    words = ["export", "--kit", "ios", "--base", bundle_dir, "--out", "{disk}/kit", "--force"]
    for ((code, stderr, stdout),), files in tiny_disk([words], tmp_path, 0, 64, 200):
        assert (code, stdout, stderr.count("Error: ")) == (1, "", 1), stderr
        assert "no space left" in stderr
        assert list(files) == ["kit/old"]


def test_a_run_is_exported_first_and_only_the_kit_stays(bundle_dir, kits, tmp_path, monkeypatch):
    build = pytest.importorskip("pocketrec_export.build", reason="needs the train extra")
    asked = []

    def export_bundle(*, run: Path, out: Path, force: bool) -> None:
        asked.append((run, force))
        shutil.copytree(bundle_dir, out)

    monkeypatch.setattr(build, "export_bundle", export_bundle)
    kit_of_run(tmp_path / "run", "web", tmp_path / "out" / "kit", force=True)
    assert asked == [(tmp_path / "run", True)]
    assert tree(tmp_path / "out" / "kit") == tree(kits["web"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["kit"]


def test_a_run_whose_gates_refuse_leaves_nothing(tmp_path, monkeypatch):
    build = pytest.importorskip("pocketrec_export.build", reason="needs the train extra")

    def export_bundle(*, run: Path, out: Path, force: bool) -> None:
        out.mkdir()
        raise GateRefusedError("too large")

    monkeypatch.setattr(build, "export_bundle", export_bundle)
    with pytest.raises(GateRefusedError):
        kit_of_run(tmp_path / "run", "web", tmp_path / "kit")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_a_kit_and_inspect_reads_it(runner, bundle_dir, kits, tmp_path):
    words = [
        "export",
        "--kit",
        "android",
        "--base",
        str(bundle_dir),
        "--out",
        str(tmp_path / "kit"),
    ]
    done = runner.invoke(main, [*words, "--json"])
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    files = tree(tmp_path / "kit")
    assert files == tree(kits["android"])
    assert found["kit_bytes"] == sum(map(len, files.values()))
    assert found["ranker"].startswith("models/ranker.litert.")
    folder = tmp_path / "kit" / "src" / "main" / "assets" / "pocketrec"
    assert runner.invoke(main, ["inspect", str(folder)]).exit_code == 0
    again = runner.invoke(main, words)
    assert (again.exit_code, again.stdout) == (2, "")
    assert "--force" in again.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--kit", "ios"],
        ["run", "--kit", "ios", "--base", "b"],
        ["--kit", "ios", "--base", "b", "--catalogue", "c"],
        ["--kit", "ios", "--base", "b", "--all-variants"],
        ["--kit", "legacy", "--base", "b"],
        ["run", "--root", "r"],
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(runner, tmp_path, words):
    done = runner.invoke(main, ["export", *words, "--out", str(tmp_path / "kit")])
    assert (done.exit_code, done.stdout) == (2, "")
    assert list(tmp_path.iterdir()) == []


def test_the_command_knows_the_platforms():
    (option,) = [each for each in command.params if each.name == "kit"]
    assert isinstance(option.type, click.Choice)
    assert [*option.type.choices] == [*PLATFORMS]


@pytest.mark.parametrize("target", PLATFORMS)
def test_the_kit_of_a_bundle_needs_no_tensorflow(run_python, bundle_dir, tmp_path, target):
    done = run_python(
        "import sys\n"
        "from pocketrec.cli import main\n"
        f"words = ['export', '--kit', {target!r}, '--base', {str(bundle_dir)!r},"
        f" '--out', {str(tmp_path / 'kit')!r}]\n"
        "main(words, standalone_mode=False)\n"
        "print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False False"


def decoded(language: Language, literal: str) -> str:
    """Read a literal back, by JSON's rules for escapes once the language's own are JSON's."""
    if language is SWIFT:
        literal = re.sub(
            r"\\u\{([0-9a-f]+)\}", lambda m: json.dumps(chr(int(m[1], 16)))[1:-1], literal
        )
    if language is KOTLIN:
        assert not re.search(r"(?<!\\)(\\\\)*\$", literal)  # a bare $ begins a template
        literal = re.sub(r"\\(.)", lambda m: "$" if m[1] == "$" else m[0], literal)
    return json.loads(literal)


ODD = ['"', "$x ${y}", "\\", "\\n \\(z)", "a\nb\r\tc", "*/ //", "\u202e жук 😀", "\u2028\x00\x7f"]


@pytest.mark.parametrize("language", [KOTLIN, SWIFT, TYPESCRIPT])
@given(text=st.one_of(st.sampled_from(ODD), st.text(), st.text(alphabet='\\"$\n{}u0(')))
def test_any_text_is_one_literal_in_ascii(language: Language, text: str):
    literal = language.text(text)
    assert literal.isascii() and literal.isprintable()
    assert re.fullmatch(r'"(?:[^"\\]|\\.)*"', literal)
    assert decoded(language, literal) == text


def node(*options: str, stdin: str) -> str:
    if not shutil.which("node"):
        pytest.skip("no node")
    done = subprocess.run(["node", *options, "-"], input=stdin, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_node_reads_odd_texts_as_they_were():
    literals = ", ".join(map(TYPESCRIPT.text, ODD))
    assert json.loads(node(stdin=f"console.log(JSON.stringify([{literals}]))")) == ODD


def test_node_runs_the_typescript_source(kits):
    strip = "--experimental-strip-types"
    if strip not in (node("-p", "[...process.allowedNodeEnvironmentFlags].join()", stdin="")):
        pytest.skip("this node strips no types")
    source = (kits["web"] / SOURCES["web"]).as_uri()
    code = f"const r = await import({json.dumps(source)}); console.log(JSON.stringify(r))"
    found = json.loads(node(strip, "--input-type=module", stdin=code))
    release = release_of(kits, "web")
    assert found["CONTEXT"] == list(release.spec.context)
    assert found["USER_TOWER"]["inputs"][0]["shape"] == [1, 6, 32]
    assert found["RELEASE"] == release.manifest.name


def test_a_kit_of_format_3_names_the_declared_features_of_its_inputs(tmp_path):
    write_tiny_bundle(tmp_path / "typed", 3, answers=True)
    write_kit(tmp_path / "typed", "web", tmp_path / "kit")
    release = open_bundle(tmp_path / "kit" / PLATFORMS["web"].resources / "pocketrec")
    assert release.manifest.format_version == 3 and replay(release, "onnx") > 0
    source = (tmp_path / "kit" / SOURCES["web"]).read_text()
    for name, columns in column_names(release.features).items():
        block = source.partition(f"export const {name.upper()} = [")[2].partition("]")[0]
        assert re.findall(r'"(\w+)"', block) == columns
