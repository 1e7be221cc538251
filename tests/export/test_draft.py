"""The format version of a release: the recipe's, or 3 if the run has objectives."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("keras", reason="needs the train extra")

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.objectives import HeadMeaning, Objectives
from pocketrec_export.draft import release_version

OBJECTIVES = Objectives(
    heads=(
        HeadMeaning(name="buy", kind="binary", events=("buy",), window_s=0, calibration="platt"),
    )
)


def run_of(version: int, objectives: Objectives | None) -> Any:
    recipe = SimpleNamespace(export=SimpleNamespace(format_version=version))
    return SimpleNamespace(recipe=recipe, typed=SimpleNamespace(items=()), objectives=objectives)


def test_objectives_need_format_3_and_other_runs_keep_theirs():
    assert release_version(run_of(2, OBJECTIVES)) == 3
    assert [release_version(run_of(version, None)) for version in (1, 2)] == [1, 2]


def test_format_1_cannot_hold_objectives():
    with pytest.raises(InputError, match="cannot hold objectives and a formula"):
        release_version(run_of(1, OBJECTIVES))
