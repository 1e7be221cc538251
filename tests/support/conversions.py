"""Converted models that all tests of one run share."""

import hashlib
import json
import os
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest


def digest(*parts) -> str:
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
        self.folder, self.again, self.keeping = folder, False, False
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
        """Within it, `models/convert.py` takes from the folder what is there, and adds the rest.

        Inside another `kept` of the same object it changes nothing.
        """
        if self.keeping:
            yield
            return
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
                self.key = digest(json.dumps(settings, default=str), repr(signature), weights)
                self.graph = cache(lambda: freeze(model, signature))

        def tflite(frozen, signature, variant):
            make = lambda: to_tflite(frozen.graph(), signature, variant)  # noqa: E731
            return self.once(f"{frozen.key}.{variant}", make)

        def plain(frozen, signature):
            make = lambda: to_onnx(frozen.graph(), signature).SerializeToString()  # noqa: E731
            return onnx.load_from_string(self.once(f"{frozen.key}.onnx", make))

        def fixed(fp32, signature, variant, calibration):
            key = digest(fp32, repr(signature), variant, *calibration)
            return self.once(key, lambda: static(fp32, signature, variant, calibration))

        def of_onnx(model, signature, variant, calibration):
            inputs = calibration if variant in convert.CALIBRATED else ()
            key = digest(model.SerializeToString(), repr(signature), variant, *inputs)
            return self.once(key, lambda: variant_of(model, signature, variant, calibration))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(convert, "freeze", Lazy)
            patch.setattr(tflite_module, "to_tflite", tflite)
            patch.setattr(onnx_module, "to_onnx", plain)
            patch.setattr(convert, "static", fixed)
            patch.setattr(convert, "variant_of", of_onnx)
            patch.setattr(self, "keeping", True)
            yield
