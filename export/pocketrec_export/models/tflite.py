"""TFLite files of a frozen model by TensorFlow's converter: fp32, fp16, dynamic-range int8."""

import os
from typing import Any

import tensorflow as tf

from pocketrec_export.errors import ConversionFailedError
from pocketrec_export.models.freeze import ModelSignature
from pocketrec_export.models.tflite_tidy import tidy


def to_tflite(frozen: Any, signature: ModelSignature, variant: str) -> bytes:
    """Convert a frozen model to TFLite.

    Args:
        frozen: the concrete function of `freeze`.
        signature: names of inputs and output.
        variant: "fp32"; "fp16" (weights stored as float16, computed as float32); "dynamic"
            (weights int8 per channel, activations quantized as they come).

    Raises:
        ConversionFailedError: the converter refused, or the result needs more than built-in
            operations.
    """
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    if variant != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    try:
        with quiet():
            data = converter.convert()
    except (ValueError, RuntimeError, tf.errors.OpError) as err:
        raise ConversionFailedError(
            f"{signature.output}: no TFLite {variant} file ({err})"
        ) from err
    return tidy(signature, variant, bytes(data))


class quiet:
    """Hide the C++ messages of converters on stderr, which need no action."""

    def __enter__(self) -> None:
        self._saved = os.dup(2)
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 2)
        os.close(sink)

    def __exit__(self, *_: object) -> None:
        os.dup2(self._saved, 2)
        os.close(self._saved)
