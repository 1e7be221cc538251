"""ONNX models as ORT-format files, and the list of operators that a build for them must hold.

Mobile and web builds of ONNX Runtime may leave out the ONNX parser and all operators that no model
uses. Their files come from a full ONNX Runtime, which saves the graph as it would run it. Level:
basic, whose results are ONNX's own operators and run on every CPU and in a browser; beyond it come
operators for one processor (NCHWc), or of new releases alone (MatMulNBits in 8 bits).
"""

import logging
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime as ort

_FIRST_RUNTIME = {"5": "1.13.0", "6": "1.16.0"}
"""By the format's version; ONNX Runtime's page "ORT model format", and its issue 20670 for 6."""


def to_ort(model: bytes) -> bytes:
    """Convert an ONNX file; under one version of ONNX Runtime equal files give equal bytes.

    Constants are not folded: our ONNX files leave nothing to fold but what is stored small on
    purpose, as float16 or int8.
    """
    from pocketrec_export.models.ort_order import (
        in_order,  # its import configures logging: keep it late
    )

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.add_session_config_entry("session.save_model_format", "ORT")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.ort"
        options.optimized_model_filepath = str(path)
        ort.InferenceSession(
            model,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["ConstantFolding"],
        )
        return in_order(path.read_bytes())


def least_ort_runtime(data: bytes) -> str:
    """Return the first ONNX Runtime that reads an ORT-format file, as "1.16.0"; "" is unknown."""
    from pocketrec_export.models.ort_order import version_of

    return _FIRST_RUNTIME.get(version_of(data), "")


def required_operators(models: list[bytes]) -> str:
    """Return the configuration of a reduced build that runs these ONNX files in ORT format.

    One line a domain and opset with operators and, where that helps, the types they are used with;
    what `--include_ops_by_config` with `--enable_reduced_operator_type_support` reads.
    """
    from onnxruntime.tools import ort_format_model

    logging.getLogger("ort_format_model.utils").setLevel(logging.WARNING)
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.ort" for number in range(len(models))]
        for path, model in zip(paths, models, strict=True):
            path.write_bytes(to_ort(model))
        config = Path(folder) / "required_operators.config"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # it leaves the files to the collector
            ort_format_model.create_config_from_models(paths, config, enable_type_reduction=True)
        lines = config.read_text().splitlines()
    kept = [line for line in lines if not line.startswith("#")]  # they name temporary files
    return "\n".join([f"# Operators and types of {len(models)} models", *kept, ""])
