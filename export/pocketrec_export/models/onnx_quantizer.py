"""Run a quantizer of ONNX Runtime, which writes its result to a file."""

import logging
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

from pocketrec_export.errors import ConversionFailedError
from pocketrec_export.models.freeze import ModelSignature

PRODUCTS = ("MatMul", "Gemm")
"""Operators whose weights become int8."""


def quantized(
    signature: ModelSignature, variant: str, write: Callable[[Path], object]
) -> onnx.ModelProto:
    """Return the model that a quantizer wrote.

    Args:
        signature: names the model in an error.
        variant: as "dynamic".
        write: calls the quantizer with the path to write to.

    Raises:
        ConversionFailedError: the quantizer refused.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{variant}.onnx"
        logging.getLogger().setLevel(logging.ERROR)  # it advises a pre-processing already done
        try:
            write(path)
        except (ValueError, RuntimeError, KeyError, AttributeError) as err:
            raise ConversionFailedError(
                f"{signature.output}: no ONNX {variant} file ({err})"
            ) from err
        return onnx.load(path)
