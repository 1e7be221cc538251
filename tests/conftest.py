"""Fixtures that every room's tests share."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before anything imports TensorFlow
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
# Two workers share two cores: waiting BLAS threads took half the time of an evaluation.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# XLA compiles for the few steps of small models, in child processes too: 4 s less a training.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

import pytest
from click.testing import CliRunner
from conversions import Conversions  # of tests/support
from forks import Forks
from small_release import write_release

from benchmarks.support.pictures.chromium import fetch_axe, find_chromium, open_tab
from pocketrec_bundle.reader import Bundle, open_bundle

ROOT = Path(__file__).parent.parent

# Files of more than about 10 s of processor time, slowest first (measured, one process).
SLOWEST = (
    "export/test_build.py",
    "training/test_train.py",
    "training/ranker/test_fit.py",
    "benchmarks/test_demo.py",
    "pocketrec/test_library.py",
    "benchmarks/quality/test_retail.py",
    "test_release_0_1.py",
    "benchmarks/quality/test_ml1m.py",
    "benchmarks/phone/test_device.py",
    "training/test_caps.py",
    "training/test_features.py",
    "training/towers/test_data_parallel.py",
    "training/towers/test_precision.py",
    "training/data/splits/test_check.py",
    "pocketrec/test_full_disk.py",
    "benchmarks/phone/test_export.py",
    "benchmarks/releases/test_catalogue.py",
    "training/tuning/test_tune.py",
    "edge_runtime/engines/test_environments.py",
    "sync_server/repository/test_rotation.py",
    "benchmarks/quality/test_ranker.py",
    "benchmarks/releases/test_warm_start.py",
    "sync_server/repository/test_rollout.py",
    "sync_server/test_serve.py",
    "benchmarks/delivery/test_faults.py",
    "benchmarks/quality/test_cold.py",
    "benchmarks/phone/test_session.py",
    "benchmarks/quality/test_rerank.py",
    "benchmarks/delivery/test_fleet.py",
    "training/evaluation/test_evaluate.py",
    "training/warm_start/test_start.py",
    "sync_server/sync/test_interruptions.py",
    "sync_server/sync/test_sync.py",
)


# What `make test-slow` runs: the benchmarks' twins, and files that train or install for minutes.
SLOW = (
    "benchmarks/delivery",
    "benchmarks/phone",
    "benchmarks/quality",
    "benchmarks/readers",
    "benchmarks/releases",
    "docs/test_own_data_guide.py",
    "edge_runtime/engines/test_environments.py",
    "pocketrec/test_full_disk.py",
    "pocketrec/test_simulated_experiment.py",
    "test_release_0_1.py",
    "sync_server/sums",
    "training/data/splits/test_check.py",
    "training/test_caps.py",
    "training/test_features.py",
    "training/towers/test_data_parallel.py",
    "training/towers/test_precision.py",
    "training/tuning/test_tune.py",
)


def pytest_collection_modifyitems(items):
    """Mark slow files; start with the slowest, so that no worker waits for another at the end."""
    place = {ROOT / "tests" / name: n for n, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))
    slow = {ROOT / "tests" / name for name in SLOW}
    for item in items:
        if not slow.isdisjoint((item.path, *item.path.parents)):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder with the real data sets; POCKETREC_DATA, or the one beside the checkout."""
    folder = Path(os.environ.get("POCKETREC_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder}; set POCKETREC_DATA to the folder that has them")
    return folder


@pytest.fixture(scope="session")
def tiny_disk(tmp_path_factory):
    """Return a function that runs commands where the disk is full; skips where none can be made.

    (commands, content, free KiB, ...) -> for each `free`: one (exit code, stderr, stdout) a
    command, and the files left with their SHA-256. `{disk}` in a command is the root of a tmpfs,
    which holds a copy of the folder `content` and has `free` KiB left, until the command `grow`;
    the mount is seen by these commands only. `imports`: modules that the commands share;
    `uncompiled`: as the fixture.
    """
    here = tmp_path_factory.mktemp("disk")
    for alone in (["unshare", "-m"], ["unshare", "-rm"]):
        probe = [*alone, "mount", "-t", "tmpfs", "tmpfs", str(here)]
        if shutil.which("unshare") and not subprocess.run(probe, capture_output=True).returncode:
            break
    else:
        pytest.skip("no tiny disk: `unshare -m` or `mount -t tmpfs` is not permitted here")

    def run(commands, content: Path, *free: int, imports=(), uncompiled=False):
        job = {"commands": [[str(w) for w in c] for c in commands], "free": free}
        job |= {"disk": str(here), "content": str(content)}
        job |= {"imports": imports, "uncompiled": uncompiled}
        done = subprocess.run(
            [*alone, sys.executable, ROOT / "tests/support/tiny_disk_child.py", json.dumps(job)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        return [([tuple(ran) for ran in each["ran"]], each["files"]) for each in found]

    return run


@pytest.fixture(scope="module")
def forked_commands():
    """Run the commands of `benchmarks.support.command_line` in forks of one process.

    Each is a process of its own as before, but TensorFlow is imported once, not for each.
    """
    pytest.importorskip("tensorflow", reason="needs the train extra")
    from benchmarks.support import command_line

    rooms = ("training.train", "training.evaluation.evaluate", "export.build")
    forks = Forks(*(f"pocketrec_{room}" for room in rooms))

    def call(*words, shows_progress=False):
        code, told, printed = forks.run(*words)
        assert code == 0, told
        return printed.rstrip()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_line, "call", call)
        yield
    forks.close()


@pytest.fixture(scope="session")
def server_forks():
    """Forks that need not import the server."""
    pytest.importorskip("waitress", reason="needs the server extra")
    forks = Forks("pocketrec_server.serving.waitress_server")
    yield forks
    forks.close()


@pytest.fixture
def runner() -> CliRunner:
    """Runs `pocketrec` commands in this process."""
    return CliRunner()


@pytest.fixture(scope="session")
def uncompiled():
    """Return a context in which trainings run uncompiled; see `support/uncompiled.py`."""
    pytest.importorskip("tensorflow", reason="needs the train extra")
    from uncompiled import uncompiled

    return uncompiled


@pytest.fixture(scope="session")
def two_folds():
    """Return a context in which a ranker is cross-fitted with two folds; a fold is one more fit."""
    pytest.importorskip("tensorflow", reason="needs the train extra")
    from pocketrec_training.ranker import cross_fit, fit, leakage

    @contextmanager
    def context():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cross_fit, "FOLDS", 2)
            patch.setattr(fit, "FOLDS", 2)
            patch.setattr(leakage, "SAMPLE", 2)
            yield

    return context


def shared_folder(tmp_path_factory) -> Path:
    """A folder of this run of pytest that all its workers have."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def conversions(tmp_path_factory) -> Conversions:
    """Converted models of this run of pytest; see `Conversions.kept`."""
    pytest.importorskip("tensorflow", reason="needs the train extra")
    return Conversions(shared_folder(tmp_path_factory) / "conversions")


@pytest.fixture(scope="session")
def tiny_release(tmp_path_factory) -> Path:
    """Folder of a bundle of 48 items, with ONNX models that a pencil can follow."""
    from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle

    folder = tmp_path_factory.mktemp("tiny") / "bundle"
    write_tiny_bundle(folder, answers=True)
    return folder


@pytest.fixture(scope="session")
def two_rankers(tmp_path_factory) -> Path:
    """Folder of a tiny bundle with a model set: "against" ranks by the votes the other way."""
    from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle

    folder = tmp_path_factory.mktemp("sets") / "bundle"
    write_tiny_bundle(folder, answers=True, rules=None, name="2", sets={"against": -10.0})
    return folder


@pytest.fixture(scope="session")
def named_releases(tiny_release, tmp_path_factory) -> tuple[Path, ...]:
    """Folders of three tiny bundles that differ in their names, "0", "1" and "evil"."""
    folder = tmp_path_factory.mktemp("named")
    for name in ("0", "1", "evil"):
        shutil.copytree(tiny_release, folder / name)
        path = folder / name / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_bytes()) | {"name": name}))
    return tuple(folder / name for name in ("0", "1", "evil"))


@pytest.fixture(scope="session")
def small_release(tmp_path_factory, conversions) -> Path:
    """Folder of a bundle whose golden vectors come from its own LiteRT path."""
    with conversions.kept():
        return write_release(tmp_path_factory.mktemp("release"), ("fp32",))


@pytest.fixture(scope="session")
def quantized_release(tmp_path_factory, conversions) -> Path:
    """The small release in every variant, the dynamic-range one the default."""
    variants = ("dynamic", "fp16", "fp32")
    folder = tmp_path_factory.mktemp("quantized")
    with conversions.kept():
        return write_release(folder, variants, dim=32, deep=(64, 32))


@pytest.fixture
def release(small_release) -> Bundle:
    """The small release, opened."""
    return open_bundle(small_release)


UNREACHABLE = ("Could not find a version", "NewConnectionError", "No matching distribution")
# Without it and from another folder, only what a wheel brought can be imported.
WITHOUT_PYTHONPATH = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}


@pytest.fixture(scope="session")
def plain_wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(ROOT)],
        check=True,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    return next(folder.glob("pocketrec-*.whl"))


@pytest.fixture(scope="session")
def environment(plain_wheel, tmp_path_factory) -> Callable[[str], Path]:
    """Return a function that gives the `bin` folder of an environment with one extra, made once."""
    made: dict[str, Path] = {}

    def install(extra: str) -> Path:
        venv = tmp_path_factory.mktemp(extra)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
        words = ["--python", str(venv / "bin/python"), "install", "--quiet", "--no-compile"]
        words += ["--disable-pip-version-check", f"pocketrec[{extra}] @ {plain_wheel.as_uri()}"]
        done = subprocess.run(
            [sys.executable, "-m", "pip", *words],
            capture_output=True,
            text=True,
            env=WITHOUT_PYTHONPATH,
        )
        if done.returncode and any(sign in done.stderr for sign in UNREACHABLE):
            pytest.skip(f"pip cannot reach the packages of extra {extra!r}: {done.stderr[-200:]}")
        assert done.returncode == 0, done.stderr
        return venv / "bin"

    def bin_of(extra: str) -> Path:
        if extra not in made:
            made[extra] = install(extra)
        return made[extra]

    return bin_of


@pytest.fixture
def tab():
    """A tab of a headless Chromium."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no chromium on the PATH")
    with open_tab(chromium) as tab:
        yield tab


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    """Source of axe-core."""
    source = fetch_axe(tmp_path_factory.mktemp("axe"))
    if source is None:
        pytest.skip("no npm on the PATH, or it could not fetch axe-core")
    return source
