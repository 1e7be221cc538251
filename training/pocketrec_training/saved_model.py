"""Load saved Keras models, those of earlier versions included.

In: a `.keras` file of a run. Out: the model. Keras finds layers by the names under which they are
registered, and their weights by the names of their classes, so a renamed class needs `RENAMED`.
"""

import io
import tempfile
import zipfile
from pathlib import Path

import h5py
import keras

RENAMED = {
    "Numbers": ("numbers", "feature_transform"),
    "Pieces": ("pieces", "piecewise_linear_encoding"),
    "Standard": ("standard", "standardization"),
    "Prior": ("prior", "retrieval_prior"),
}
"""Classes of version 0.1.0: the group of their weights in the file, and its name today."""
_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"


def load_model(path: Path) -> keras.Model:
    """Load a model for inference.

    Raises:
        OSError: the file can't be read.
        ValueError: it is damaged.
        KeyError: it is damaged.
    """
    try:
        if not zipfile.is_zipfile(path) or not _has_renamed(path):
            return keras.models.load_model(path, compile=False)
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / path.name
            _copy_renamed(path, copy)
            return keras.models.load_model(copy, compile=False)
    except zipfile.BadZipFile as err:
        raise ValueError(f"{path.name}: {err}") from err


def _has_renamed(path: Path) -> bool:
    with zipfile.ZipFile(path) as saved:
        config = saved.read(_CONFIG)
    return any(f'"class_name": "{name}"'.encode() in config for name in RENAMED)


def _copy_renamed(path: Path, copy: Path) -> None:
    """Copy a model's file with today's names for the groups of weights."""
    with zipfile.ZipFile(path) as saved, zipfile.ZipFile(copy, "w") as written:
        for name in saved.namelist():
            data = saved.read(name)
            written.writestr(name, _renamed(data) if name == _WEIGHTS else data)


def _renamed(weights: bytes) -> bytes:
    stream = io.BytesIO(weights)
    with h5py.File(stream, "r+") as file:
        groups = file["layers"]
        for old, new in RENAMED.values():
            if old in groups:
                groups.move(old, new)
    return stream.getvalue()
