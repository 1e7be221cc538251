"""What other tests rely on in `Conversions`."""

from pathlib import Path
from typing import Any

import pytest
from conversions import Conversions


def test_kept_within_kept_changes_nothing(tmp_path: Path):
    keras = pytest.importorskip("keras", reason="needs the train extra")
    from pocketrec_export.models import convert as module
    from pocketrec_export.models.freeze import freeze

    convert: Any = module  # the conversions put another `freeze` in its place
    model: Any = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(2)])
    conversions = Conversions(tmp_path / "conversions")
    with conversions.kept():
        outer = convert.freeze
        assert outer is not freeze
        with conversions.kept():
            key = convert.freeze(model, None).key
        assert convert.freeze is outer
        assert convert.freeze(model, None).key == key
    assert convert.freeze is freeze


def test_a_name_is_made_once_until_it_is_made_again(tmp_path: Path):
    conversions = Conversions(tmp_path / "conversions")
    assert conversions.once("a", lambda: b"1") == b"1"
    assert conversions.once("a", lambda: b"2") == b"1"
    with conversions.made_again():
        assert conversions.once("a", lambda: b"3") == b"3"
    assert conversions.once("a", lambda: b"4") == b"1"
