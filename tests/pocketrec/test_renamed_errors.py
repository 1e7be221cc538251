"""Errors that got a new name in 0.2.0 are still found under the old one, with a warning."""

import importlib
import inspect

import pytest

RENAMED = {
    "pocketrec_bundle": ("BundleInvalid", "BundleTooNew"),
    "pocketrec_bundle.errors": ("BundleInvalid", "BundleTooNew"),
    "pocketrec_edge.errors": ("OutOfTime", "RequestInvalid", "SelfTestFailed", "SimulationFailed"),
}
ROOMS = ("pocketrec_bundle", "pocketrec_edge", "pocketrec_export", "pocketrec_server")


@pytest.mark.parametrize(
    ("module", "old"), [(module, old) for module, names in RENAMED.items() for old in names]
)
def test_an_old_name_is_the_error_of_the_new_one_and_warns(module: str, old: str):
    found = importlib.import_module(module)
    with pytest.warns(DeprecationWarning, match=rf"{old} is now {old}Error.*0\.3\.0") as caught:
        error = getattr(found, old)
    assert error is getattr(found, f"{old}Error")
    assert caught[0].filename == __file__


@pytest.mark.parametrize("module", RENAMED)
def test_a_name_that_never_was_is_not_there(module: str):
    found = importlib.import_module(module)
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'BundleGone'"):
        _ = found.BundleGone
    assert not hasattr(found, "BundleGone")


@pytest.mark.parametrize("room", [*ROOMS, "pocketrec_training"])
def test_each_error_of_a_room_ends_in_error(room: str):
    module = importlib.import_module(f"{room}.errors")
    errors = [each for _, each in inspect.getmembers(module, inspect.isclass)]
    errors = [each for each in errors if issubclass(each, Exception)]
    assert errors
    assert [each.__name__ for each in errors if not each.__name__.endswith("Error")] == []
