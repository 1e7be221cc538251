"""From signed experiment to verdict: phones mix rankings, upload, and the command counts users."""

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("ibis", reason="needs the train extra")

from pocketrec.cli import main
from pocketrec_bundle.settings.experiment import RUNNING, Experiment
from pocketrec_bundle.settings.experiment_arms import Arm
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_edge.device import Device
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.experiments.signed_experiments import keep_experiments
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_server.events.export import export_events
from pocketrec_server.events.ingest import store
from pocketrec_server.events.uploads import Upload
from pocketrec_server.storage.database import open_database

NOW, PHONES, K = 1_700_000_000, 24, 6
PLAIN = {"version": 1, "depth": 8, "rules": []}
VARIED = {"version": 1, "depth": 40, "rules": [{"kind": "mmr", "relevance": 0.1}]}
BLEND = Experiment(
    id="blend",
    hypothesis="users choose varied items",
    salt="5a" * 16,
    layer="ranking",
    segment=(0.0, 1.0),
    state=RUNNING,
    from_utc=NOW - 100,
    until_utc=NOW + 100_000,
    arms=(Arm(name="plain", share=0.5, rules=PLAIN), Arm(name="varied", share=0.5, rules=VARIED)),
    interleave=True,
)
SIGNED = Experiments(channel="stable", experiments=(BLEND,)).to_bytes()


def opened(folder, bundle):
    home = PhoneHome(folder)
    home.make()
    keep_experiments(home, SIGNED)
    return Device(folder, bundle=bundle, engine="onnx", clock=lambda: NOW)


@pytest.fixture(scope="module")
def events(tmp_path_factory, tiny_release):
    """The export of phones whose users choose items that only the second arm ranks high."""
    base, rng = tmp_path_factory.mktemp("mixed"), np.random.default_rng(0)
    with opened(base / "probe", tiny_release) as device:
        slates = []
        for arm in BLEND.arms:
            device.force_arm("blend", arm.name)
            answer = device.recommend(K, log_impressions=False)
            slates.append({item.item_id for item in answer.items})
    liked = slates[1] - slates[0]
    assert liked
    engine = open_database(f"sqlite:///{base / 'server.sqlite'}")
    for number in range(PHONES):
        with opened(base / f"p{number}", tiny_release) as device:
            device.set_consent(True)
            answer = device.recommend(K)
            assert answer.arms == {"blend": "interleaved"}
            for item in answer.items:
                if rng.random() < (0.8 if item.item_id in liked else 0.05):
                    device.feedback(item.item_id, "like", request=answer.request)
        log = EventLog(PhoneHome(base / f"p{number}").event_log)
        rows = [dataclasses.asdict(event) for event in log.pending(1000)]
        log.close()
        upload = Upload(install_id=f"install-{number:03}", batch=f"batch-{number:05}", events=rows)
        assert not store(engine, upload).rejected
    export_events(engine, base / "events")
    engine.dispose()
    (base / "events" / "experiments.json").write_bytes(SIGNED)
    return base / "events"


def test_the_command_finds_the_arm_that_users_prefer(events):
    signed = ["--experiments", str(events / "experiments.json"), "--reward", "like"]
    words = ["experiment", "interleaving", "blend", "--events", str(events), *signed]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("users prefer varied")
    found = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert found["arms"] == ["plain", "varied"] and found["users"] == PHONES
    assert found["wins"][1] > found["wins"][0] and found["p"] < 0.05
    assert found["share"]["low"] > 0.5


def test_mixed_slates_are_no_evidence_for_other_policies(events, tiny_release):
    words = ["policy-value", str(tiny_release), "--events", str(events), "--engine", "onnx"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 3 and f"{PHONES} interleaved" in done.output
