import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

from benchmarks.support import kill_steps
from pocketrec_bundle.disk.files import sha256_file
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.golden.vectors import Golden
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.reference import Reference
from pocketrec_edge.engines.select import is_older
from pocketrec_edge.releases.selftest import replay
from pocketrec_export import build
from pocketrec_export.build import export_bundle
from pocketrec_export.errors import GateRefusedError
from pocketrec_export.golden import answers as golden
from pocketrec_export.model_files import ended_of
from pocketrec_training.data.dataset import TRAIN, load_dataset
from pocketrec_training.recipe.schema import Target
from pocketrec_training.trained import load_trained


@pytest.mark.parametrize("engine", ["litert", "onnx"])
def test_golden_vectors_hold_on_both_engines(bundle_dir: Path, engine):
    assert replay(open_bundle(bundle_dir), engine) == 6


def test_golden_cases_cover_no_one_and_many_events(bundle_dir: Path):
    cases = Golden.from_json(open_bundle(bundle_dir).json("golden.json")).cases
    lengths = [len(case.item_ids) for case in cases]
    assert {0, 1} <= set(lengths)
    assert max(lengths) > 6  # more than the tower reads
    assert all(len(case.slate_ids) == 5 for case in cases)


def test_rows_of_the_bundle_are_those_of_the_run(bundle_dir: Path, run_dir: Path):
    bundle = open_bundle(bundle_dir)
    vectors = np.load(run_dir / "item_vectors.npy")
    for canonical in range(40):
        item_id = f"i{canonical:02d}"
        row = bundle.row_of(item_id)
        assert bundle.item_id(row) == item_id
        restored = bundle.array("index/rows")[row] * bundle.scales[row]
        assert np.abs(restored - vectors[canonical]).max() <= bundle.scales[row]
        (shown,) = bundle.catalogue([row])
        assert (shown.item_id, shown.title, shown.year) == (
            item_id,
            f"Film {item_id}",
            1960 + canonical,
        )
        assert bundle.numeric[row].tolist()[1:] == [1960 + canonical, -1]


def test_each_target_ships_files_and_the_first_of_an_engine_is_its_default(bundle_dir: Path):
    assert sorted(path.name for path in bundle_dir.iterdir()) == ["files", "manifest.json"]
    bundle = open_bundle(bundle_dir)
    report = bundle.json("model_card.json")["export"]
    assert [s["target"] for s in report["shipped"]] == ["android", "ios", "web", "legacy"]
    for shipped in report["shipped"]:
        assert shipped["passed"]
        for model in ("user_tower", "ranker"):
            entry = bundle.manifest.entry(f"models/{model}.{shipped['engine']}.{shipped[model]}")
            assert shipped["target"] in str(entry.meta["targets"]).split(",")
            assert "forced" not in entry.meta
            if shipped["target"] in ("android", "ios"):
                assert bundle.manifest.models(model, shipped["engine"])[0] == entry
                assert entry.meta["default"] == 1
            if shipped["target"] == "legacy":
                assert not is_older("2.14.0", str(entry.meta["min_runtime"]))


def test_the_card_has_every_file_and_every_gate_and_no_time(bundle_dir: Path):
    report = open_bundle(bundle_dir).json("model_card.json")["export"]
    files = report["files"]
    assert len(files) == 12
    assert all(
        f["max_error"] < 1e-4 and f["hard_error"] < 1e-3 for f in files if f["variant"] == "fp32"
    )
    assert all("ms" not in f for f in files)
    assert {g["check"] for g in report["gates"]} >= {"cosine", "overlap", "bytes", "NDCG@10 loss"}


def test_the_card_has_the_distributions_of_the_training_data(run_dir: Path, bundle_dir: Path):
    bundle = open_bundle(bundle_dir)
    found = Reference.from_json(bundle.json("model_card.json")["reference"])
    trained = load_trained(run_dir)
    data = load_dataset(trained.recipe, run_dir)
    learned = trained.as_released(data)[1].fold == TRAIN
    assert found.interactions == sum(found.events.values()) == int(learned.sum())
    assert found.until_utc == int(data.ts[learned].max())
    of_items = Counter(
        name for row in data.rows[learned] for name in {*data.items.categories[int(row)]}
    )
    assert found.categories == dict(of_items) and found.other_categories == 0
    years = found.numeric["year"]
    assert sum(years.counts) == found.interactions and years.edges[0] >= 1960
    assert found.scores is not None and sum(found.scores.counts) == 5 * data.n_users


def test_what_ended_the_training_is_in_the_manifest_and_on_the_card(
    run_dir: Path, bundle_dir: Path
):
    report = json.loads((run_dir / "train_report.json").read_bytes())
    ended = {"user_tower": "patience", "ranker": "minutes"}
    assert (report["retrieval_stopped_by"], report["ranker_stopped_by"]) == tuple(ended.values())
    bundle = open_bundle(bundle_dir)
    models = [entry for entry in bundle.manifest.files if entry.kind == "model"]
    assert models
    for entry in models:
        assert entry.meta["stopped_by"] == ended[str(entry.meta["model"])]
        assert entry.meta["reproducible"] == 0
    text = bundle.read("model_card.md").decode()
    assert "two-tower: 3 of 9 epochs, stopped by patience; ranker: 1 of 4 epochs" in text
    assert "**Warning:** a cap cut this training short" in text
    assert bundle.json("model_card.json")["training"]["reproducible"] is False


def test_run_of_an_earlier_version_says_nothing_of_what_ended_it(run_dir: Path, tmp_path: Path):
    report = json.loads((run_dir / "train_report.json").read_bytes())
    keys = ("retrieval_stopped_by", "ranker_stopped_by", "reproducible")
    old = {key: value for key, value in report.items() if key not in keys}
    (tmp_path / "train_report.json").write_text(json.dumps(old))
    only = {"fit": "evaluation"}
    assert ended_of(tmp_path, "evaluation") == {"user_tower": only, "ranker": only}


def test_all_variants_pack_also_what_no_target_ships(run_dir: Path, tmp_path: Path):
    export_bundle(run=run_dir, out=tmp_path / "all", all_variants=True)
    manifest = open_bundle(tmp_path / "all").manifest
    models = [entry for entry in manifest.files if entry.kind == "model"]
    assert len(models) == 12
    assert 0 < sum("targets" in entry.meta for entry in models) < 12


def test_an_existing_bundle_is_replaced_only_with_force(
    own_bundle: Path, run_dir: Path, conversions
):
    before = (own_bundle / "manifest.json").read_bytes()
    with pytest.raises(InputError, match="--force"):
        export_bundle(run=run_dir, out=own_bundle)
    assert (own_bundle / "manifest.json").read_bytes() == before
    with conversions.made_again():
        export_bundle(run=run_dir, out=own_bundle, force=True)
    assert (own_bundle / "manifest.json").read_bytes() == before  # same run, same bytes


def test_an_export_beside_busy_loops_gives_the_same_bytes(
    bundle_dir: Path, run_dir: Path, tmp_path: Path, runner
):
    from pocketrec.cli import main

    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        done = runner.invoke(main, ["export", str(run_dir), "--out", str(tmp_path / "busy")])
    finally:
        for one in busy:
            one.kill()
            one.wait()
    assert done.exit_code == 0, done.output
    manifest = (bundle_dir / "manifest.json").read_bytes()  # holds the SHA-256 of every file
    assert (tmp_path / "busy" / "manifest.json").read_bytes() == manifest
    sampled = done.stdout.partition("What was sampled, of the files that ship:\n")[2]
    for key in ("ndcg_loss", "auc_loss", "latency_ratio"):
        (line,) = [
            line
            for line in sampled.splitlines()
            if line.endswith(f"export.targets.android.{key}") and " ranker " not in line
        ]
        assert re.search(r"\[-?[\d.e-]+, -?[\d.e-]+\] +[\d.]+  export", line)


def test_budgets_that_nothing_meets_refuse_the_release_and_force_is_recorded(
    run_dir: Path, tmp_path: Path, monkeypatch
):
    def small(folder: Path):
        trained = load_trained(folder)
        targets = {**trained.recipe.export.targets, "web": Target(models_bytes=1000)}
        export = replace(trained.recipe.export, targets=targets)
        return replace(trained, recipe=replace(trained.recipe, export=export))

    monkeypatch.setattr(build, "load_trained", small)
    with pytest.raises(GateRefusedError, match=r"budgets of web:(?s:.*)bytes .* 1,000 ") as refused:
        export_bundle(run=run_dir, out=tmp_path / "refused")
    key = "export.targets.web.models_bytes"
    assert f" {key}\n" in str(refused.value)
    assert f"\n{key}: raise it, " in str(refused.value)
    assert refused.value.exit_code == 3
    assert list(tmp_path.iterdir()) == []
    report = export_bundle(run=run_dir, out=tmp_path / "forced", force=True)
    assert [s.target for s in report.shipped if not s.passed] == ["web"]
    bundle = open_bundle(tmp_path / "forced")
    forced = [e for e in bundle.manifest.files if e.meta.get("forced")]
    assert [e.name for e in forced] == ["models/ranker.onnx.fp32", "models/user_tower.onnx.fp32"]
    assert all("web" in str(e.meta["targets"]) for e in forced)
    assert b"shipped with --force" in bundle.read("model_card.md")


def test_the_recipes_recall_chooses_how_many_cells_a_search_reads(
    run_dir: Path, tmp_path: Path, monkeypatch
):
    def searching(recall: float):
        trained = load_trained(run_dir)
        index = replace(trained.recipe.index, recall=recall)
        export = replace(trained.recipe.export, variants=("fp32",), golden_cases=3)
        return replace(trained, recipe=replace(trained.recipe, index=index, export=export))

    probes = {}
    for recall in (0.3, 0.999):
        monkeypatch.setattr(build, "load_trained", lambda _run, r=recall: searching(r))
        report = export_bundle(run=run_dir, out=tmp_path / str(recall), name=f"recall {recall}")
        bundle = open_bundle(tmp_path / str(recall))
        assert report.name == bundle.manifest.name == f"recall {recall}"
        probes[recall] = bundle.policy.probes
    assert probes == {0.3: 1, 0.999: 0}  # of four cells


def test_files_that_disagree_on_most_golden_slates_refuse_the_release(
    run_dir: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(golden, "_holds", lambda *_: False)
    with pytest.raises(GateRefusedError, match="6 of 6 golden slates"):
        export_bundle(run=run_dir, out=tmp_path / "refused")
    assert list(tmp_path.iterdir()) == []


def test_killed_at_any_step_an_export_leaves_the_old_bundle_or_the_new(
    bundle_dir: Path, run_dir: Path, tmp_path: Path, monkeypatch
):
    """SIGKILL before each step that touches the disk; every seventh is run again."""
    old = Path(shutil.copytree(bundle_dir, tmp_path / "old"))
    manifest = json.loads((old / "manifest.json").read_bytes())
    (old / "manifest.json").write_text(json.dumps({**manifest, "name": "older"}))
    work = tmp_path / "work"
    work.mkdir()
    # What leaves the disk alone is done once: a fork of a process that ran TensorFlow must not run
    # it again.
    slow = [
        (build, name) for name in ("load_trained", "load_dataset", "convert_and_measure", "_chosen")
    ]
    slow.append((golden, "answered"))
    remembered = [kill_steps.Remembered(getattr(*place)) for place in slow]
    for place, function in zip(slow, remembered, strict=True):
        monkeypatch.setattr(*place, function)
    export_bundle(run=run_dir, out=tmp_path / "whole")
    for function in remembered:
        function.replay()

    def job() -> None:
        export_bundle(run=run_dir, out=work / "bundle", force=True)

    def digest(bundle: Path) -> str:
        """Hash of a bundle that opens."""
        open_bundle(bundle)
        return sha256_file(bundle / "manifest.json")

    before, new = digest(old), digest(tmp_path / "whole")
    after = []
    code, n = -9, 0
    while code == -9:
        for left in work.iterdir():
            shutil.rmtree(left)
        shutil.copytree(old, work / "bundle")
        code = kill_steps.forked(job, n)
        after.append(digest(work / "bundle"))
        if code == -9 and n % 7 == 0:
            assert kill_steps.forked(job, None) == 0
            assert digest(work / "bundle") == new
            assert [path.name for path in work.iterdir()] == ["bundle"]
        n += 1
    assert code == 0
    *killed, last = after
    assert last == new != before
    switch = killed.index(new)
    assert killed == [before] * switch + [new] * (len(killed) - switch)
    assert switch > 30  # so at least five were run again


def test_full_disk_is_one_message_and_the_old_bundle_stays(tiny_disk, run_dir, tmp_path):
    """The disk fills at once, in the items, and in the models."""
    run = Path(shutil.copytree(run_dir, tmp_path / "run"))
    recipe = json.loads((run / "recipe.json").read_bytes())
    recipe["export"]["variants"] = ["fp32"]  # nothing is written between the items and these
    (run / "recipe.json").write_text(json.dumps(recipe))
    (tmp_path / "disk" / "bundle").mkdir(parents=True)
    (tmp_path / "disk" / "bundle" / "old").write_text("kept")
    words = ["export", run, "--out", "{disk}/bundle", "--force"]
    imports = ["pocketrec_export.build"]
    for ((code, stderr, stdout),), files in tiny_disk(
        [words], tmp_path / "disk", 0, 24, 96, imports=imports
    ):
        assert (code, stdout, stderr.count("Error: ")) == (1, "", 1), stderr
        assert "no space left" in stderr
        assert list(files) == ["bundle/old"]


def test_inspect_shows_what_it_verified(bundle_dir: Path, runner):
    from pocketrec.cli import main

    done = runner.invoke(main, ["inspect", str(bundle_dir), "--json"])
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["items"] == 40
    assert len([f for f in found["files"] if f["kind"] == "model"]) >= 4


def test_inspect_refuses_a_damaged_or_foreign_folder(own_bundle: Path, tmp_path: Path, runner):
    from pocketrec.cli import main

    entry = open_bundle(own_bundle).manifest.entry("index/rows")
    path = own_bundle / "files" / entry.sha256
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    done = runner.invoke(main, ["inspect", str(own_bundle)])
    assert done.exit_code == 1
    assert "index/rows" in done.stderr
    done = runner.invoke(main, ["inspect", str(tmp_path)])
    assert done.exit_code == 1
    assert "not a bundle" in done.stderr


@pytest.fixture(scope="module")
def in_a_child(run_dir: Path, tmp_path_factory):
    """A run with all variants, its bundle by the command in a process of its own, and stderr."""
    folder = tmp_path_factory.mktemp("child")
    run = Path(shutil.copytree(run_dir, folder / "run"))
    recipe = json.loads((run / "recipe.json").read_bytes())
    recipe["export"]["variants"] = ["fp32", "fp16", "dynamic", "int8", "selective"]
    (run / "recipe.json").write_text(json.dumps(recipe))
    words = ("export", str(run), "--out", str(folder / "bundle"), "--all-variants", "--force")
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    done = subprocess.run(
        [sys.executable, "-m", "pocketrec", *words],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed},
    )
    return run, folder / "bundle", done.stderr


def test_another_process_with_another_hash_seed_writes_the_same_bytes(in_a_child, tmp_path):
    run, bundle, _ = in_a_child
    export_bundle(run=run, out=tmp_path / "bundle", all_variants=True, force=True)
    here, there = (
        {entry.name: entry.sha256 for entry in open_bundle(one).manifest.files}
        for one in (tmp_path / "bundle", bundle)
    )
    assert sum(name.startswith("models/") for name in here) == 18
    apart = {name for name in here.keys() | there.keys() if here.get(name) != there.get(name)}
    assert apart == set()


def test_export_prints_no_note_of_an_engine(in_a_child):
    *_, told = in_a_child
    assert "gates" in told  # progress is printed
    for note in ("INFO:", "WARNING:", "TensorFlow", "XNNPACK", "onnxruntime"):
        assert note not in told
