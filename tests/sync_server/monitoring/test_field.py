"""From slates on phones over a real server to its metrics and to the field report."""

import json
import time

import pytest
import urllib3
from prometheus_client.parser import text_string_to_metric_families

from pocketrec import cli
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.device import Device
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.sync.http import Network
from pocketrec_edge.sync.sync_log import SyncLog
from pocketrec_edge.sync.transfer import Retry
from pocketrec_edge.sync.uploads.events import send_events
from pocketrec_server.monitoring.fleet import label_of

PHONES, SLATES = 3, 2


@pytest.fixture
def used(tiny_repo, tiny_release, start_server, tmp_path):
    """Address of a server to which phones have uploaded slates and likes of their first items."""
    address, _ = start_server(tiny_repo, "--workers", "2")
    for number in range(PHONES):
        home = tmp_path / f"phone-{number}"
        with Device(home, bundle=tiny_release, engine="onnx") as device:
            device.set_consent(True, "terms")
            for _ in range(SLATES):
                answer = device.recommend(k=5)
                assert answer.request is not None and len(answer.items) == 5
                device.feedback(answer.items[0].item_id, "like", request=answer.request)
        for _ in range(2):  # a repeated upload has nothing new
            with SyncLog(PhoneHome(home), None) as log:
                send_events(log, address, Network(), Retry(tries=3))
    return address


def samples(address):
    text = urllib3.request("GET", f"{address}/metrics", retries=5).data.decode()
    return {
        (sample.name, *(sample.labels[key] for key in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_slates_of_phones_are_counted_once_over_all_workers(used, tiny_release):
    found, release = samples(used), label_of(open_bundle(tiny_release).sha256)
    slates = {
        labels[1]: value
        for (name, *labels), value in found.items()
        if name == "pocketrec_slates_total" and labels[0] == release
    }
    assert sum(slates.values()) == PHONES * SLATES
    assert found["pocketrec_slate_seconds_count", release] == PHONES * SLATES
    assert found["pocketrec_events_stored_total", "request"] == PHONES * SLATES
    assert found["pocketrec_events_stored_total", "impression"] == 5 * PHONES * SLATES
    assert found["pocketrec_events_stored_total", "interaction"] == PHONES * SLATES
    assert not [key for key in found if key[0] == "pocketrec_events_rejected_total"]
    assert found["pocketrec_installs", "week"] <= PHONES
    assert abs(found["pocketrec_last_upload_timestamp_seconds",] - time.time()) < 3600


def test_the_field_report_of_the_export_has_the_same_slates(
    used, tiny_repo, tiny_release, tmp_path, runner
):
    pytest.importorskip("ibis", reason="needs the train extra")
    events = str(tmp_path / "events")
    done = runner.invoke(cli.main, ["events", "export", "--repo", str(tiny_repo), "--out", events])
    assert done.exit_code == 0, done.output
    words = ["monitor", "--events", events, "--bundle", str(tiny_release), "--json"]
    done = runner.invoke(cli.main, [*words, "--repo", str(tiny_repo)])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    (release,) = report["releases"]
    assert (release["name"], release["channels"]) == ("tiny", ["stable"])
    assert (release["users"], release["installed_share"]) == (PHONES, 1)
    assert sum(release["sources"].values()) == release["slates"] == PHONES * SLATES
    assert release["impressions"] == 5 * PHONES * SLATES
    assert release["clicks"] == PHONES * SLATES
    assert release["coverage"] == release["items"] / 48
    assert report["users"] == PHONES and report["unknown_items_share"] == 0
