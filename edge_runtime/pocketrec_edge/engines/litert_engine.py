"""LiteRT, or its predecessor tflite-runtime if that is installed instead."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_edge.engines.engine_notes import notes_dropped
from pocketrec_edge.errors import EngineError

with notes_dropped():
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tflite_runtime.interpreter import Interpreter


class LiteRtEngine:
    """One interpreter, allocated once; the runtimes raise ValueError and RuntimeError."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Load a model.

        Raises:
            EngineError: this runtime cannot run the file.
        """
        try:
            with notes_dropped():
                self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError, OSError) as err:
            raise EngineError(f"LiteRT cannot load it: {str(err).splitlines()[0]}") from err
        details = self._interpreter.get_input_details()
        self._inputs = {_plain(d["name"]): d for d in details}
        self._output = self._interpreter.get_output_details()[0]["index"]

    def run(self, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """Run the model once, see `Engine.run`."""
        if inputs.keys() != self._inputs.keys():
            raise EngineError(f"the model reads {sorted(self._inputs)}, not {sorted(inputs)}")
        try:
            for name, value in inputs.items():
                self._interpreter.set_tensor(self._inputs[name]["index"], value)
            self._interpreter.invoke()
            found: NDArray[Any] = np.asarray(self._interpreter.get_tensor(self._output))
        except (ValueError, RuntimeError) as err:
            raise EngineError(f"LiteRT: {str(err).splitlines()[0]}") from err
        return found


def _plain(name: str) -> str:
    """Strip a converter's prefix and suffix from a name: `serving_default_x:0` is `x`."""
    return name.removeprefix("serving_default_").partition(":")[0]
