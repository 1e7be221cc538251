"""One Keras model to TFLite and ONNX files: fp32, fp16 and dynamic-range int8."""

from dataclasses import dataclass

import keras

from export import onnx_export, tflite
from export.freeze import (
    ModelSignature,
    as_function,
    freeze,
    ranker_signature,
    run_keras,
    tower_signature,
)

__all__ = [
    "ENGINES",
    "Converted",
    "ModelSignature",
    "as_function",
    "convert",
    "ranker_signature",
    "run_keras",
    "tower_signature",
]

ENGINES = ("litert", "onnx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """One file: bytes of a model for an engine, and the least runtime that loads it."""

    engine: str
    variant: str
    data: bytes
    min_runtime: str


def convert(
    model: keras.Model, signature: ModelSignature, variants: tuple[str, ...]
) -> list[Converted]:
    """Convert a model to every variant for both engines; equal models give equal bytes.

    Raises:
        ConversionFailed: a converter refused the model, or made a file no built-in runtime can run.
    """
    frozen = freeze(model, signature)
    plain = onnx_export.to_onnx(frozen, signature)
    found = []
    for variant in variants:
        made = {
            "litert": tflite.to_tflite(frozen, signature, variant),
            "onnx": onnx_export.variant_of(plain, signature, variant),
        }
        found += [
            Converted(
                engine=engine,
                variant=variant,
                data=made[engine].data,
                min_runtime=made[engine].min_runtime,
            )
            for engine in ENGINES
        ]
    return found
