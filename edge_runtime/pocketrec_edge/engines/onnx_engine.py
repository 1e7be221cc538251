"""ONNX Runtime on the CPU."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pocketrec_edge.engines.engine_notes import notes_dropped
from pocketrec_edge.errors import EngineError

with notes_dropped():
    import onnxruntime as ort


class OnnxEngine:
    """One session; ONNX Runtime raises its own exceptions below RuntimeError and ValueError."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Load a model.

        Raises:
            EngineError: this runtime cannot run the file.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            with notes_dropped():
                self._session = ort.InferenceSession(
                    str(path), options, providers=["CPUExecutionProvider"]
                )
        except Exception as err:  # its exceptions share no narrower base
            raise EngineError(f"ONNX Runtime cannot load it: {str(err)[:200]}") from err
        self._names = {i.name for i in self._session.get_inputs()}

    def run(self, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """Run the model once, see `Engine.run`."""
        if inputs.keys() != self._names:
            raise EngineError(f"the model reads {sorted(self._names)}, not {sorted(inputs)}")
        try:
            found: NDArray[Any] = self._session.run(None, inputs)[0]
        except Exception as err:  # its exceptions share no narrower base
            raise EngineError(f"ONNX Runtime: {str(err)[:200]}") from err
        return found
