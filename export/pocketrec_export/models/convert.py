"""Convert a Keras model to TFLite and ONNX files, in float and in int8."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import keras

from pocketrec_export.errors import ConversionFailedError
from pocketrec_export.models import onnx_export, operators, tflite
from pocketrec_export.models.freeze import (
    ModelSignature,
    as_function,
    freeze,
    ranker_signature,
    run_keras,
    tower_signature,
)
from pocketrec_export.models.onnx_variants import variant_of
from pocketrec_export.models.ort_format import least_ort_runtime, to_ort
from pocketrec_export.models.tflite_static import static

__all__ = [
    "VARIANTS",
    "ConversionFailure",
    "ConvertedModel",
    "ModelSignature",
    "as_function",
    "attempt",
    "convert",
    "ort_twin",
    "ranker_signature",
    "run_keras",
    "tower_signature",
]

VARIANTS = {
    "litert": ("fp32", "fp16", "dynamic", "int8", "selective"),
    "onnx": ("fp32", "fp16", "dynamic", "int8"),
}
"""Variants of each engine; see `tflite.py` and `onnx_variants.py`."""

CALIBRATED = ("int8", "selective")
"""Variants with scales fixed at export, which need calibration inputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedModel:
    """A converted model: its bytes for an engine, operators and minimum runtime.

    Attributes:
        operators: version by operator name, as `operators.py` reads it from the bytes.
        min_runtime: e.g. "2.3.0"; "" if unknown, which counts as newer than any.
    """

    engine: str
    variant: str
    data: bytes
    operators: dict[str, int]
    min_runtime: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionFailure:
    """A variant that could not be converted for an engine, and the reason."""

    engine: str
    variant: str
    reason: str


def convert(
    model: keras.Model,
    signature: ModelSignature,
    variants: tuple[str, ...],
    calibration: Sequence[dict[str, Any]] = (),
) -> list[ConvertedModel]:
    """Convert a model to every variant for both engines; see `attempt`.

    Raises:
        ConversionFailedError: also if a single variant could not be made.
    """
    made, failed = attempt(model, signature, variants, calibration)
    if failed:
        raise ConversionFailedError("; ".join(one.reason for one in failed))
    return made


def attempt(
    model: keras.Model,
    signature: ModelSignature,
    variants: tuple[str, ...],
    calibration: Sequence[dict[str, Any]] = (),
) -> tuple[list[ConvertedModel], list[ConversionFailure]]:
    """Convert a model to each variant that an engine has; equal inputs give equal bytes.

    Args:
        model: a Keras model.
        signature: names, shapes and dtypes of its inputs.
        variants: of `VARIANTS`; what an engine does not have is left out.
        calibration: inputs by the signature's names, from the training log, for `CALIBRATED`.

    Raises:
        ConversionFailedError: the float model cannot be converted for an engine, so no variant can;
            or a variant needs calibration inputs and none are given.
    """
    converter = Converter(model, signature, calibration)
    converter.prepare(variants)
    made: list[ConvertedModel] = []
    failed: list[ConversionFailure] = []
    for variant in variants:
        for engine in (e for e, all_of in VARIANTS.items() if variant in all_of):
            try:
                made.append(converter.convert(engine, variant))
            except ConversionFailedError as err:
                failed.append(ConversionFailure(engine=engine, variant=variant, reason=str(err)))
    return made, failed


class Converter:
    """Convert one model, a file at a time; the float models behind all files are made once."""

    def __init__(
        self,
        model: keras.Model,
        signature: ModelSignature,
        calibration: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Prepare; the arguments are those of `attempt`."""
        self._model, self._signature, self._calibration = model, signature, calibration

    def prepare(self, variants: tuple[str, ...]) -> None:
        """Make the float models of both engines, after a look at the calibration inputs.

        Raises:
            ConversionFailedError: one can't be made, or a variant needs calibration inputs and
                there are none.
        """
        if not self._calibration and (needy := [v for v in variants if v in CALIBRATED]):
            raise ConversionFailedError(
                f"{self._signature.output}: {' and '.join(needy)} need calibration inputs, "
                "histories of the training log; none were given."
            )
        _ = self._fp32, self._plain

    def convert(self, engine: str, variant: str) -> ConvertedModel:
        """Make one file of `VARIANTS`.

        Raises:
            ConversionFailedError: it can't be made.
        """
        if engine == "onnx":
            data = variant_of(self._plain, self._signature, variant, self._calibration)
        elif variant in CALIBRATED:
            data = static(self._fp32, self._signature, variant, self._calibration)
        elif variant == "fp32":
            data = self._fp32
        else:
            data = tflite.to_tflite(self._frozen, self._signature, variant)
        return _read(engine, variant, data)

    @cached_property
    def _frozen(self) -> Any:
        return freeze(self._model, self._signature)

    @cached_property
    def _fp32(self) -> bytes:
        return tflite.to_tflite(self._frozen, self._signature, "fp32")

    @cached_property
    def _plain(self) -> Any:
        return onnx_export.to_onnx(self._frozen, self._signature)


def _read(engine: str, variant: str, data: bytes) -> ConvertedModel:
    """Read from a file what it needs."""
    if engine == "litert":
        found = operators.tflite_operators(data)
        least = operators.least_tflite_runtime(found)
    else:
        found = operators.onnx_operators(data)
        domains = {name.rpartition(".")[0] for name in found}
        least = operators.least_onnx_runtime(operators.onnx_opset(data), domains)
    return ConvertedModel(
        engine=engine, variant=variant, data=data, operators=found, min_runtime=least
    )


def ort_twin(made: ConvertedModel) -> ConvertedModel:
    """Return an ONNX file in ONNX Runtime's own format, for its small builds.

    Raises:
        ConversionFailedError: ONNX Runtime cannot save it.
    """
    try:
        data = to_ort(made.data)
    except (RuntimeError, ValueError, OSError) as err:
        raise ConversionFailedError(f"no ORT-format {made.variant} file ({err})") from err
    return replace(made, engine="ort", data=data, min_runtime=least_ort_runtime(data))
