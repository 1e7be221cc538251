"""What an app that imports `Device` relies on."""

import shutil
from pathlib import Path

import pytest

from pocketrec_edge.device import Device
from pocketrec_edge.errors import EventLogError

NOW = 1_700_000_000


def opened(home: Path, **settings) -> Device:
    return Device(home, engine="onnx", clock=lambda: NOW, **settings)


def name_of(device: Device) -> str | None:
    """Name of the release that answers."""
    return None if device.bundle is None else device.bundle.manifest.name


def test_an_install_takes_effect_at_once(tiny_release, named_releases, tmp_path):
    with opened(tmp_path) as device:
        assert name_of(device) is None
        device.install(tiny_release)
        assert name_of(device) == "tiny"
        device.install(named_releases[1])
        assert name_of(device) == "1"
        assert device.recommend(3).release == "1"


def test_a_device_with_a_folder_of_its_own_keeps_it_after_an_install(
    tiny_release, named_releases, tmp_path
):
    with opened(tmp_path, bundle=tiny_release) as device:
        device.install(named_releases[1])
        assert device.recommend(3).release == "tiny"
    with opened(tmp_path) as device:
        assert device.recommend(3).release == "1"


def test_the_end_of_a_block_closes_the_log(tiny_release, tmp_path):
    with opened(tmp_path, bundle=tiny_release) as device:
        device.feedback("item 1", "like")
    with pytest.raises(EventLogError):
        device.feedback("item 1", "like")


def test_an_error_in_a_block_closes_the_log_and_is_raised(tiny_release, tmp_path):
    with pytest.raises(ZeroDivisionError), opened(tmp_path, bundle=tiny_release) as device:
        _ = 1 / 0
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    with pytest.raises(EventLogError):
        device.feedback("item 1", "like")


def test_the_old_name_of_bundle_works_and_warns(tiny_release, tmp_path):
    with pytest.warns(DeprecationWarning, match="bundle_dir is now bundle"):
        device = opened(tmp_path, bundle_dir=tiny_release)
    assert device.recommend(3).release == "tiny"
    device.close()


def test_settings_are_by_keyword_only(tiny_release, tmp_path):
    with pytest.raises(TypeError):
        Device(tmp_path, tiny_release)  # type: ignore[call-arg]
