"""Apps of version 0.1.0 follow the policy of a channel with experiments, kills and halts too."""

import io
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from pocketrec_bundle.manifest import parse_manifest
from pocketrec_bundle.settings.experiment import PAUSED
from pocketrec_bundle.settings.experiment_arms import Guardrail
from pocketrec_bundle.settings.model_sets import set_files
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.sync.metadata import TrustedMetadata
from pocketrec_server.experiments import signing
from pocketrec_server.halting.release_limits import change_guardrails
from pocketrec_server.repository import blobs, state
from pocketrec_server.repository.publish import halt, publish, refresh

PATH = "channels/stable/experiments.json"
OTHERS = ("experiments", "guardrails")
"""Targets of a channel that version 0.1 does not know; no device asks for the second one."""
OF_0_1_0 = "2bede1953661b55e279c5fa964510ad0b201bbe3"
"""The last commit of version 0.1.0, which has no tag."""
ONE_SYNC = """
import json, sys
from pathlib import Path
from edge_runtime.store import Store
from edge_runtime.sync import sync

home, url, root = sys.argv[1:]
report = sync(Path(home), url, lambda _: None, root_path=Path(root))
store = Store(Path(home) / "store")
active, _ = store.active()
name = None if active is None else store.read_manifest(active).name
print(json.dumps({"status": report.status, "why": report.why, "has": name}))
"""


@pytest.fixture(scope="session")
def client_0_1_0(tmp_path_factory):
    """The modules of the client of 0.1.0, from the history of the repository."""
    root, folder = Path(__file__).parents[3], tmp_path_factory.mktemp("client-0.1.0")
    taken = subprocess.run(
        ["git", "-C", str(root), "archive", OF_0_1_0, "bundle", "edge_runtime"],
        capture_output=True,
        check=False,
    )
    if taken.returncode:
        pytest.skip("needs the history of the repository: git fetch --unshallow")
    with tarfile.open(fileobj=io.BytesIO(taken.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.fixture(params=["its own modules", "present modules"])
def old_sync(request, site, monkeypatch):
    """Return a function: one sync of an app of version 0.1.0.

    A clone without history has its modules not; there the present client is stopped from reading
    experiments.
    """
    if request.param == "its own modules":
        modules = request.getfixturevalue("client_0_1_0")
        root = site.repo / "metadata" / "1.root.json"

        def run(home="phone"):
            site.asked.clear()
            done = subprocess.run(
                [sys.executable, "-c", ONE_SYNC, str(site.folder / home), site.url, str(root)],
                env={**os.environ, "PYTHONPATH": str(modules)},
                capture_output=True,
                check=False,
                text=True,
            )
            assert done.returncode == 0, done.stderr
            found = json.loads(done.stdout)
            return found["status"], found["has"], found["why"]

        return run
    read = TrustedMetadata.read

    def without(self, path, most_bytes):
        return None if path == PATH else read(self, path, most_bytes)

    monkeypatch.setattr(TrustedMetadata, "read", without)

    def patched(home="phone"):
        report = site.sync(home)
        return report.status, site.has(home), report.why

    return patched


def test_an_app_of_version_0_1_0_syncs_from_a_channel_with_experiments(site, old_sync):
    """Policy, halts and manifests are all that it asks for; kills and halts reach it."""
    site.start({"release": "1"})
    limits = (Guardrail(metric="ctr", worse_by=0.05, alpha=0.01),)
    change_guardrails(
        site.repo, site.signers, "stable", lambda before: replace(before, guardrails=limits)
    )
    assert old_sync()[:2] == ("updated", "0")
    assert not any(name in path for name in OTHERS for path in site.asked) and site.asked
    site.change("1", percent=100)
    assert old_sync()[:2] == ("updated", "1")
    site.change("1", state="killed")
    assert old_sync()[:2] == ("updated", "0")
    assert site.halt("treatment")
    assert old_sync()[0] == "current"
    assert not any(name in path for name in OTHERS for path in site.asked)
    halt(site.repo, site.signers, "stable", site.manifest("0"), "bad")
    _, has, why = old_sync("new phone")
    assert has is None and "halted (bad)" in why
    refresh(site.repo, site.signers, everything=True)
    assert old_sync()[0] == "current"
    assert not PhoneHome(site.folder / "phone").experiments.exists()


def test_the_policy_of_a_channel_with_experiments_has_the_keys_of_version_0_1(site):
    """An app of 0.1 refuses an unknown key, and would then miss kills."""
    site.start({"release": "1"})
    site.move("pause")
    (one,) = signing.read_experiments(site.repo, "stable").experiments
    assert one.state == PAUSED
    target = state.load(site.repo).targets["stable"].targets["channels/stable/policy.json"]
    value = json.loads(blobs.read(site.repo, target))
    assert set(value) == {"format", "channel", "releases", "sync"}
    assert {key for release in value["releases"] for key in release} == {
        "manifest",
        "name",
        "percent",
        "ramp",
        "state",
        "app",
        "device_classes",
        "from_utc",
        "until_utc",
        "most_failures",
    }
    assert set(value["sync"]) == {"unmetered", "charging", "quiet_hours", "every_s", "spread_s"}


def test_an_app_of_version_0_1_0_fetches_no_ranker_of_a_model_set(site, old_sync, two_rankers):
    """It installs the release all the same, and keeps it while an arm names the set."""
    publish(two_rankers, site.repo, site.signers, "stable", percent=100)
    assert old_sync()[:2] == ("updated", "2")
    manifest = parse_manifest((two_rankers / "manifest.json").read_bytes())
    (entry,) = set_files(manifest, "against", "onnx")
    own = manifest.entry("models/ranker.onnx.fp32")
    files = PhoneHome(site.folder / "phone").store / "files"
    assert (files / own.sha256).exists() and not (files / entry.sha256).exists()
    assert not any(entry.sha256 in path for path in site.asked)
    site.start({"models": "against"})
    assert old_sync()[:2] == ("current", "2")
    assert not (files / entry.sha256).exists()
