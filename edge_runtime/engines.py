"""The one seam to an inference engine: named arrays in, one array out."""

import importlib.util
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from bundle.manifest import FileEntry
from bundle.reader import Bundle
from edge_runtime.errors import EngineError

ENGINES = ("litert", "onnx")
_MODULES = {"litert": ("ai_edge_litert", "tflite_runtime"), "onnx": ("onnxruntime",)}


class Engine(Protocol):
    """A loaded model with fixed shapes."""

    def run(self, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """Run once; inputs by the names of FORMAT.md, shapes and dtypes exactly as there.

        Raises:
            EngineError: an input is missing or misshapen, or the runtime refuses.
        """
        ...


def choose_engine(name: str) -> str:
    """Resolve "auto" to the first engine installed, and check that a named one is.

    Raises:
        EngineError: none is installed, or the name is unknown.
    """
    if name != "auto" and name not in ENGINES:
        raise EngineError(f"engine {name!r} is unknown; choose litert, onnx or auto")
    for engine in ENGINES if name == "auto" else (name,):
        if any(importlib.util.find_spec(module) for module in _MODULES[engine]):
            return engine
    raise EngineError(
        f"no runtime for engine {name!r} is installed; pip install 'pocketrec[edge]' brings LiteRT"
    )


def open_engine(path: Path, engine: str, threads: int = 1) -> Engine:
    """Load a verified model file.

    Raises:
        EngineError: the runtime is missing or refuses the file.
    """
    if engine == "litert":
        from edge_runtime.litert_engine import LiteRtEngine

        return LiteRtEngine(path, threads)
    from edge_runtime.onnx_engine import OnnxEngine

    return OnnxEngine(path, threads)


def open_model(bundle: Bundle, model: str, engine: str, variant: str | None = None) -> Engine:
    """Load a model of a release: the given variant, else its default, else the next that loads.

    Raises:
        EngineError: the release has no variant for the engine, or none of them loads.
    """
    entries: list[FileEntry] = [
        e for e in bundle.manifest.models(model, engine) if variant in (None, e.meta.get("variant"))
    ]
    failures = []
    for entry in entries:
        try:
            return open_engine(bundle.path(entry.name), engine)
        except EngineError as err:
            failures.append(f"{entry.name}: {err}")
    raise EngineError("; ".join(failures) or f"the release has no {model} for engine {engine!r}")
