"""`Device.sync` against a real server: the default self-test, events, effect at once."""

import pytest

from pocketrec_edge.device import Device
from pocketrec_edge.errors import SyncError
from pocketrec_server.repository.publish import publish


def test_a_device_syncs_and_answers_from_the_new_release_at_once(
    founded, named_releases, start_server, tmp_path
):
    repo, signers = founded
    address, _ = start_server(repo)
    root = repo / "metadata" / "1.root.json"
    with Device(tmp_path / "phone", engine="onnx") as device:
        assert device.recommend().faults[0].code == "no_release"
        first = device.sync(address, root=root)
        assert (first.status, device.recommend(3).release) == ("updated", "0")
        device.feedback("item 14", "like")
        publish(named_releases[1], repo, signers, "stable")
        second = device.sync(address, consent=True)
        assert (second.status, second.events_sent) == (
            "updated",
            1 + 1 + 3,
        )  # a tap, a request, impressions
        assert device.bundle is not None and device.bundle.manifest.name == "1"
        assert device.recommend(3).release == "1"
        assert device.sync(address).status == "current"


def test_a_release_that_fails_the_default_self_test_does_not_come(
    founded, named_releases, start_server, tmp_path, monkeypatch
):
    repo, signers = founded
    address, _ = start_server(repo)
    with Device(tmp_path / "phone", engine="onnx") as device:
        device.sync(address, root=repo / "metadata" / "1.root.json")
        publish(named_releases[1], repo, signers, "stable")

        def refuse(bundle):
            raise SyncError("refused on purpose")

        with pytest.raises(SyncError, match="on purpose"):
            device.sync(address, self_test=refuse)
        assert device.recommend(3).release == "0"


def test_what_the_default_self_test_replays_are_the_golden_vectors(
    founded, start_server, tmp_path, monkeypatch
):
    repo, _ = founded
    address, _ = start_server(repo)
    asked = []
    monkeypatch.setattr(
        "pocketrec_edge.device.replay", lambda bundle, engine: asked.append((bundle, engine))
    )
    with Device(tmp_path / "phone", engine="onnx") as device:
        device.sync(address, root=repo / "metadata" / "1.root.json")
    assert [(bundle.manifest.name, engine) for bundle, engine in asked] == [("0", "onnx")]
