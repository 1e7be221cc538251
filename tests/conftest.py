"""Fixtures that every room's tests share."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before anything imports TensorFlow
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
# Two workers share two cores: waiting BLAS threads took half the time of an evaluation.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# XLA compiles for the few steps of small models, in child processes too: 4 s less a training.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

import numpy as np
import pytest
from click.testing import CliRunner

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.arrays import encode_array
from pocketrec_bundle.features import FeatureSpec, History
from pocketrec_bundle.items.catalogue import CatalogueItem, write_catalogue
from pocketrec_bundle.items.items import ItemArrays
from pocketrec_bundle.manifest import FORMAT_VERSION
from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_bundle.settings.policy import Policy
from pocketrec_bundle.versions import item_files
from pocketrec_bundle.writer import BundleWriter

ROOT = Path(__file__).parent.parent

# Files of more than about 10 s of processor time, slowest first (measured, one process).
SLOWEST = (
    "export/test_build.py",
    "training/test_train.py",
    "test_demo.py",
    "test_library.py",
    "benchmarks/test_quality_retail.py",
    "test_release_0_1.py",
    "benchmarks/test_quality_ml1m.py",
    "benchmarks/test_device.py",
    "training/test_caps.py",
    "training/towers/test_data_parallel.py",
    "training/data/test_split_check.py",
    "test_full_disk.py",
    "benchmarks/test_export.py",
    "benchmarks/test_catalogue.py",
    "training/tuning/test_tune.py",
    "training/ranker/test_fit.py",
    "edge_runtime/engines/test_environments.py",
    "sync_server/repository/test_rotation.py",
    "benchmarks/test_quality_ranker.py",
    "benchmarks/test_warm_start.py",
    "sync_server/repository/test_rollout.py",
    "sync_server/test_serve.py",
    "benchmarks/test_faults.py",
    "benchmarks/test_quality_cold.py",
    "benchmarks/test_session.py",
    "benchmarks/test_rerank.py",
    "benchmarks/test_fleet.py",
    "training/evaluation/test_evaluate.py",
    "training/warm_start/test_start.py",
    "sync_server/sync/test_interruptions.py",
    "sync_server/sync/test_sync.py",
)


def pytest_collection_modifyitems(items):
    """Start with the slowest files, so that a run does not end with one worker waiting for one."""
    place = {ROOT / "tests" / name: n for n, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


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
            [*alone, sys.executable, ROOT / "tests" / "tiny_disk_child.py", json.dumps(job)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        return [([tuple(ran) for ran in each["ran"]], each["files"]) for each in found]

    return run


class Forked:
    """A process of `Forks.start`, with what a `Popen` has of it."""

    def __init__(self, forks: "Forks", pid: int) -> None:
        self.pid, self._forks = pid, forks

    def poll(self) -> int | None:
        """Exit code, None while it runs."""
        return self._forks.ask(poll=self.pid)

    def wait(self, timeout: float = 60.0) -> int:
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("pocketrec", timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forks:
    """Processes that run `pocketrec` and share their imports; see `forked_command.py`."""

    def __init__(self, *modules: str) -> None:
        self.parent = subprocess.Popen(
            [sys.executable, ROOT / "tests" / "forked_command.py", *modules],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.parent.stdin is not None and self.parent.stdout is not None
        self.to, self.back = self.parent.stdin, self.parent.stdout

    def ask(self, **asked):
        self.to.write(json.dumps(asked) + "\n")
        self.to.flush()
        return json.loads(self.back.readline())

    def run(self, *words) -> tuple[int, str, str]:
        """Exit code, stderr and stdout of a command."""
        return tuple(self.ask(run=list(map(str, words))))

    def start(self, *words, out: Path, err: Path) -> Forked:
        """Start a command that goes on."""
        return Forked(self, self.ask(start=list(map(str, words)), out=str(out), err=str(err)))

    def close(self) -> None:
        self.to.close()
        self.parent.wait()
        self.back.close()


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
    forks = Forks("pocketrec_server.waitress_server")
    yield forks
    forks.close()


@pytest.fixture
def runner() -> CliRunner:
    """Runs `pocketrec` commands in this process."""
    return CliRunner()


@pytest.fixture(scope="session")
def uncompiled():
    """Return a context in which the steps of training run uncompiled.

    Compiling takes 13 s of processor time a training, a few dozen steps 1 s.
    """
    tensorflow = pytest.importorskip("tensorflow", reason="needs the train extra")

    @contextmanager
    def context():
        tensorflow.config.run_functions_eagerly(True)
        try:
            yield
        finally:
            tensorflow.config.run_functions_eagerly(False)

    return context


def _digest(*parts) -> str:
    """SHA-256 of texts, bytes and dicts of arrays."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, dict):
            for name, array in sorted(part.items()):
                array = np.asarray(array)
                found.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
        else:
            found.update(part if isinstance(part, bytes) else part.encode())
        found.update(b"\0")
    return found.hexdigest()


class Conversions:
    """Converted models, in a folder that both workers share: an equal model is converted once.

    A model is frozen only if a file of it is missing. Equal models give equal bytes, which
    `test_build` and `test_convert` check by converting again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.again = folder, False
        folder.mkdir(exist_ok=True)

    @contextmanager
    def made_again(self):
        """Within it, every file is made, as if the folder were empty."""
        self.again = True
        try:
            yield
        finally:
            self.again = False

    def once(self, name: str, make) -> bytes:
        """Return the bytes of this name, made if nobody has yet."""
        if self.again:
            return make()
        path = self.folder / name
        if not path.exists():
            part = path.with_suffix(f".{os.getpid()}")
            part.write_bytes(make())
            part.replace(path)
        return path.read_bytes()

    @contextmanager
    def kept(self):
        """Within it, `models/convert.py` takes from the folder what is there, and adds the rest."""
        import keras
        import onnx

        from pocketrec_export.models import convert
        from pocketrec_export.models import onnx_export as onnx_module
        from pocketrec_export.models import tflite as tflite_module
        from pocketrec_export.models.freeze import freeze
        from pocketrec_export.models.onnx_variants import variant_of
        from pocketrec_export.models.tflite_static import static

        to_tflite, to_onnx = tflite_module.to_tflite, onnx_module.to_onnx

        class Lazy:
            def __init__(self, model, signature) -> None:
                settings = keras.saving.serialize_keras_object(model)
                weights = {f"{n:04d}": v.numpy() for n, v in enumerate(model.weights)}
                self.key = _digest(json.dumps(settings, default=str), repr(signature), weights)
                self.graph = cache(lambda: freeze(model, signature))

        def tflite(frozen, signature, variant):
            make = lambda: to_tflite(frozen.graph(), signature, variant)  # noqa: E731
            return self.once(f"{frozen.key}.{variant}", make)

        def plain(frozen, signature):
            make = lambda: to_onnx(frozen.graph(), signature).SerializeToString()  # noqa: E731
            return onnx.load_from_string(self.once(f"{frozen.key}.onnx", make))

        def fixed(fp32, signature, variant, calibration):
            key = _digest(fp32, repr(signature), variant, *calibration)
            return self.once(key, lambda: static(fp32, signature, variant, calibration))

        def of_onnx(model, signature, variant, calibration):
            inputs = calibration if variant in convert.CALIBRATED else ()
            key = _digest(model.SerializeToString(), repr(signature), variant, *inputs)
            return self.once(key, lambda: variant_of(model, signature, variant, calibration))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(convert, "freeze", Lazy)
            patch.setattr(tflite_module, "to_tflite", tflite)
            patch.setattr(onnx_module, "to_onnx", plain)
            patch.setattr(convert, "static", fixed)
            patch.setattr(convert, "variant_of", of_onnx)
            yield


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
def named_releases(tiny_release, tmp_path_factory) -> tuple[Path, ...]:
    """Folders of three tiny bundles that differ in their names, "0", "1" and "evil"."""
    folder = tmp_path_factory.mktemp("named")
    for name in ("0", "1", "evil"):
        shutil.copytree(tiny_release, folder / name)
        path = folder / name / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_bytes()) | {"name": name}))
    return tuple(folder / name for name in ("0", "1", "evil"))


N, DIM = 300, 16


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


def write_release(
    folder: Path, variants: tuple[str, ...], *, dim: int = DIM, deep: tuple[int, ...] = (8,)
) -> Path:
    """Write a bundle with seeded, untrained models; the first variant is the default.

    Layers of fewer than 1,024 weights are never quantized: a small one has variants in name only.
    """
    from pocketrec_export.golden import answers as golden
    from pocketrec_export.items.index_builder import build_index, by_id
    from pocketrec_export.models.convert import convert, ranker_signature, tower_signature
    from pocketrec_training.ranker.model import build_ranker
    from pocketrec_training.recipe.schema import RankerConfig, RetrievalConfig
    from pocketrec_training.towers.user_tower import build_user_tower

    spec = FeatureSpec(
        dim=dim,
        max_history=8,
        event_types=("rating", "like"),
        categories=("a", "b", "c"),
        max_categories=2,
        heads=("engage", "like"),
        head_weights=(1.0, 0.5),
        candidates=50,
    )
    import keras

    keras.utils.set_random_seed(1)
    tower = build_user_tower(RetrievalConfig(dim=dim, blocks=1), spec)
    ranker = build_ranker(RankerConfig(cross_layers=1, cross_rank=4, deep=deep), spec)
    rng = np.random.default_rng(0)
    ids = [f"item-{i}" for i in range(N)]
    index = build_index(rng.normal(size=(N, dim)).astype(np.float32), ids, 5, 0)
    ids = [ids[i] for i in index.order]
    items = ItemArrays(
        ids=ids,
        by_id=by_id(ids),
        offsets=index.offsets,
        scales=index.scales,
        categories=np.stack([np.arange(N) % 4, np.zeros(N)], 1).astype(np.uint16),
        numeric=rng.uniform(0, 90, (N, 3)).astype(np.float32),
        available=np.arange(N) % 10 > 0,
    )
    arrays: dict[str, NDArray[Any]] = {
        "index/centroids": index.centroids,
        "index/offsets": index.offsets,
        "index/rows": index.rows,
        "items/popular": np.arange(20, dtype=np.int32),
        **item_files(FORMAT_VERSION, items),
    }
    policy = Policy(slate=10, category_cap=4, near_duplicate_cosine=0.98, probes=2, candidates=50)
    write_catalogue(
        folder / "c",
        (CatalogueItem(r, ids[r], f"Title {ids[r]}", "a", None, None) for r in range(N)),
    )
    with BundleWriter(folder / "bundle") as writer:
        for name, array in arrays.items():
            writer.add(name, encode_array(array), "array")
        writer.add("catalogue.sqlite", (folder / "c").read_bytes(), "catalogue")
        writer.add("feature_spec.json", canonical_json(spec.to_json()), "json")
        writer.add("policy.json", canonical_json(policy.to_json()), "json")
        for model, built, signature in (
            ("user_tower", tower, tower_signature(spec)),
            ("ranker", ranker, ranker_signature(spec)),
        ):
            for made in convert(built, signature, variants):
                about = {"model": model, "engine": made.engine, "variant": made.variant}
                default = {"default": 1} if made.variant == variants[0] else {}
                name = f"models/{model}.{made.engine}.{made.variant}"
                least = made.min_runtime
                writer.add(name, made.data, "model", **about, **default, min_runtime=least)
        facts: dict[str, Any] = {"name": "small", "recipe_name": "t"}
        facts["created_utc"] = 1_600_000_000
        draft = Bundle(writer.manifest(**facts), writer.blob_dir)
        past = History(
            np.array([3, 9, 30], np.int32),
            np.array([0, 1, 1], np.int32),
            np.array([10, 20, 30], np.int64),
        )
        cases = golden.blank_cases([("empty", History.empty()), ("three", past)], ids, 99)
        golden.add(writer, golden.answered(draft, cases))
        writer.finish(**facts)
    return folder / "bundle"


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
