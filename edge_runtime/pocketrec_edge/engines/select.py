"""The interface to inference engines: named arrays in, one array out."""

import importlib.util
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from pocketrec_bundle.manifest import FileEntry, Manifest
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.model_sets import set_files, set_names
from pocketrec_edge.errors import EngineError

ENGINES = ("litert", "onnx")
"""Engines that a device may use, in order of preference."""

KINDS = (*ENGINES, "ort")
"""Kinds of model files; "ort" is ONNX Runtime's own format, for its small builds."""

MODELS = ("user_tower", "ranker")
_MODULES = {
    "litert": ("ai_edge_litert", "tflite_runtime"),
    "onnx": ("onnxruntime",),
    "ort": ("onnxruntime",),
}


class Engine(Protocol):
    """A loaded model with fixed shapes."""

    def run(self, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """Run the model once; names, shapes and dtypes of inputs as in FORMAT.md.

        Raises:
            EngineError: an input is missing or misshapen, or the runtime fails.
        """
        ...


def choose_engine(name: str, manifest: Manifest) -> str:
    """Resolve "auto": the first installed engine that runs the release, else the first installed.

    Raises:
        EngineError: no engine is installed, or the name is unknown.
    """
    if name != "auto" and name not in ENGINES:
        raise EngineError(f"engine {name!r} is unknown; choose litert, onnx or auto")
    found = [engine for engine in (ENGINES if name == "auto" else (name,)) if runtime(engine)]
    if not found:
        raise EngineError(
            f"no runtime for engine {name!r} is installed; pip install 'pocketrec[edge]' brings "
            "LiteRT"
        )
    if len(found) == 1:
        return found[0]
    return next((engine for engine in found if not lacks_runtime(manifest, engine)), found[0])


def runtime(engine: str) -> str:
    """Return the module of an engine's installed runtime; "" if it has no runtime here."""
    return next((m for m in _MODULES[engine] if importlib.util.find_spec(m)), "")


def open_engine(path: Path, engine: str, threads: int = 1) -> Engine:
    """Load a verified model file.

    Raises:
        EngineError: the runtime is missing or cannot load the file.
    """
    if engine == "litert":
        from pocketrec_edge.engines.litert_engine import LiteRtEngine

        return LiteRtEngine(path, threads)
    from pocketrec_edge.engines.onnx_engine import OnnxEngine

    return OnnxEngine(path, threads)


def runtime_version(engine: str) -> str:
    """Return the installed runtime's version, to compare with `min_runtime`; "" if unknown.

    A TFLite model states a TensorFlow version. tflite-runtime has TensorFlow's version numbers.
    LiteRT, which began after TensorFlow 2.17, has its own and reads all models of TensorFlow's
    converter.
    """
    module = runtime(engine)
    if module in ("", "ai_edge_litert"):
        return ""
    from importlib.metadata import PackageNotFoundError, version  # 15 ms of a start

    try:
        return version(module.replace("_", "-"))
    except PackageNotFoundError:  # a build under another name, such as onnxruntime-gpu
        return ""


def is_older(installed: str, least: str) -> bool:
    """Whether a runtime's version is below the minimum; False if one of them is not numeric.

    Compares the first three numbers; a missing number is 0 (FORMAT.md, "Runtime versions").
    """
    try:
        one, two = (list(map(int, text.split(".")[:3])) for text in (installed, least))
    except ValueError:
        return False
    return one + [0] * (3 - len(one)) < two + [0] * (3 - len(two))


def needed_files(manifest: Manifest) -> list[FileEntry]:
    """Return the files of a release that this device needs: all but models that it never opens.

    For each model that is one file per installed runtime, the one that `open_model` tries first.
    Phones have one runtime.
    """
    wanted = {files[0].name for files in _loadable(manifest) if files}
    return [e for e in manifest.files if e.kind != "model" or e.name in wanted]


def spare_files(manifest: Manifest) -> list[FileEntry]:
    """Return further model files that the installed runtimes may load if a needed one fails."""
    return [entry for files in _loadable(manifest) for entry in files[1:]]


def set_rankers(manifest: Manifest, name: str, engine: str) -> list[FileEntry]:
    """Return the rankers of a model set that an installed runtime may load, the first one first."""
    return _new_enough(set_files(manifest, name, engine), engine)


def all_set_rankers(manifest: Manifest) -> list[FileEntry]:
    """Return the rankers of all model sets of a release, for every engine."""
    return [
        entry
        for name in set_names(manifest)
        for engine in KINDS
        for entry in set_files(manifest, name, engine)
    ]


def lacks_runtime(manifest: Manifest, engine: str = "auto") -> str | None:
    """Return why no runtime of this app can run a release's models, or None.

    A newer app may have such a runtime, so this does not count as a failure of the release.

    Args:
        manifest: the release's manifest.
        engine: the app's engine; "auto": any installed engine.
    """
    reasons = []
    for name in ENGINES if engine == "auto" else (engine,):
        if not runtime(name):
            continue
        installed, found = runtime_version(name), []
        for model in MODELS:
            least = [str(e.meta.get("min_runtime", "")) for e in manifest.models(model, name)]
            if not least:
                found.append(f"it has no {model} for {name}")
            elif all(is_older(installed, one) for one in least):
                found.append(f"{model}: needs {runtime(name)} {least[0]}, installed is {installed}")
        if not found:
            return None
        reasons += found
    return "; ".join(reasons) or "no runtime for models is installed"


def _loadable(manifest: Manifest) -> list[list[FileEntry]]:
    """Return loadable files by installed runtime and model, in the order of `open_model`."""
    return [
        _new_enough(manifest.models(model, engine), engine)
        for engine in ENGINES
        if runtime(engine)
        for model in MODELS
    ]


def _new_enough(entries: list[FileEntry], engine: str) -> list[FileEntry]:
    """Return the files that do not need a newer runtime than the installed one."""
    installed = runtime_version(engine)
    return [e for e in entries if not is_older(installed, str(e.meta.get("min_runtime", "")))]


def open_model(
    bundle: Bundle, model: str, engine: str, variant: str | None = None, threads: int = 1
) -> Engine:
    """Load a model of a release: the given variant, else the default, else the next that loads.

    Skips files that are not on this device or need a newer runtime.

    Raises:
        EngineError: the release has no variant for the engine, or none of them loads.
    """
    entries: list[FileEntry] = [
        e for e in bundle.manifest.models(model, engine) if variant in (None, e.meta.get("variant"))
    ]
    return _open_first(bundle, entries, engine, threads, f"{model} for engine {engine!r}")


def open_set(bundle: Bundle, name: str, engine: str, threads: int = 1) -> Engine:
    """Load the ranker of a model set, the first one on this device that loads.

    Raises:
        EngineError: the release has no such set for the engine, or none of its files loads.
    """
    entries = set_files(bundle.manifest, name, engine)
    return _open_first(bundle, entries, engine, threads, f"model set {name!r} for {engine}")


def _open_first(
    bundle: Bundle, entries: list[FileEntry], engine: str, threads: int, what: str
) -> Engine:
    failures = []
    installed = runtime_version(engine)
    for entry in entries:
        least = str(entry.meta.get("min_runtime", ""))
        if not bundle.has(entry.name):
            failures.append(f"{entry.name}: not on this device")
            continue
        if is_older(installed, least):
            failures.append(f"{entry.name}: needs runtime {least}, installed is {installed}")
            continue
        try:
            return open_engine(bundle.path(entry.name), engine, threads)
        except EngineError as err:
            failures.append(f"{entry.name}: {err}")
    raise EngineError("; ".join(failures) or f"the release has no {what}")
