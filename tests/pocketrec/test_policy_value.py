"""`pocketrec policy-value` on the logs of phones that explore, whose users' truth is known."""

import dataclasses
import functools
import json
import shutil
import zlib
from operator import itemgetter

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("ibis", reason="needs the train extra")

import pyarrow as pa
import pyarrow.parquet as pq

from pocketrec.cli import main
from pocketrec.policy.replay import Release, replay
from pocketrec.policy.table import lines
from pocketrec.policy.value import Question, policy_value
from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.settings.rules import CategoryThompson, Exploration, Mmr, Rules
from pocketrec_edge.device import Device
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import NO_OVERRIDES, Overrides
from pocketrec_experiments.errors import PolicyValueRefusedError
from pocketrec_experiments.off_policy import Limits
from pocketrec_experiments.off_policy.tables import read_requests
from pocketrec_server.events.export import export_events
from pocketrec_server.events.ingest import store
from pocketrec_server.events.uploads import Upload
from pocketrec_server.storage.database import open_database

MAX_EVENTS = 500
USERS, EACH, K, ETA = 36, 12, 5, 0.8
START = 1_700_000_000
LOGGING = Rules(rules=(Exploration(epsilon=0.4, pool=6, first=1),), depth=40)
BOLDER = Rules(rules=(Exploration(epsilon=0.8, pool=6, first=1),), depth=40)
OTHER_ORDER = Rules(rules=(Mmr(relevance=0.8),), depth=8)
"""The best eight candidates: all of them are in the logged slate or its pool."""


def attraction(item_id):
    return (zlib.crc32(item_id.encode()) % 100) / 130


def clicks(item_id, place):
    return attraction(item_id) / place**ETA


def export(folder, events):
    """Store the events of each phone as the server does, and export them."""
    engine = open_database(f"sqlite:///{folder / 'server.sqlite'}")
    for user, listed in events.items():
        rows = [dataclasses.asdict(event) for event in listed]
        for start in range(0, len(rows), MAX_EVENTS):
            batch = f"{user}-{start:08}"
            part = rows[start : start + MAX_EVENTS]
            kept = store(engine, Upload(install_id=user, batch=batch, events=part))
            assert not kept.rejected
    export_events(engine, folder / "events", raw_ids=True)
    engine.dispose()
    return folder / "events"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle

    folder = tmp_path_factory.mktemp("explores") / "bundle"
    write_tiny_bundle(folder, answers=True, rules=LOGGING)
    return folder


@pytest.fixture(scope="module")
def events(tmp_path_factory, bundle):
    """The export of phones whose users click by attraction and place."""
    return lived(tmp_path_factory.mktemp("phones"), bundle, USERS)


def lived(base, bundle, users):
    found = {}
    ids = [open_bundle(bundle).item_id(row) for row in range(48)]
    for user in range(users):
        home, rng, now = base / f"p{user}", np.random.default_rng([3, user]), [START]
        device = Device(
            home, bundle=bundle, engine="onnx", clock=functools.partial(itemgetter(0), now), rng=rng
        )
        device.set_consent(True)
        device.feedback(ids[rng.integers(48)], "like")
        for _ in range(EACH):
            now[0] += 7200
            answer = device.recommend(K, log_impressions=True)
            assert answer.source == "model" and len(answer.items) == K
            for place, item in enumerate(answer.items, 1):
                if rng.random() < clicks(item.item_id, place):
                    now[0] += 1  # an export has no order within a second
                    device.feedback(item.item_id, "like", request=answer.request)
        device.close()
        log = EventLog(PhoneHome(home).event_log)
        found[f"install-{user:03}"] = log.pending(10_000)
        log.close()
    return export(base, found)


@functools.cache
def truth(bundle, events, rules):
    """Expected clicks a request of rules in the logged requests."""
    overrides = NO_OVERRIDES if rules is None else Overrides(rules=rules)
    release, requests = Release(bundle, "onnx"), read_requests(events)
    found = replay(requests, release, overrides, by_place=True)
    names = dict(zip(found.log.item.tolist(), requests.item_ids, strict=True))
    target = found.target
    total = sum(
        odds * clicks(names[code], place)
        for code, place, odds in zip(
            target.item.tolist(), target.place.tolist(), target.probability, strict=True
        )
    )
    return total / len(requests.user)


def keys(rows):
    return zip(rows.request.tolist(), rows.place.tolist(), rows.item.tolist(), strict=True)


@pytest.fixture
def rules_file(tmp_path):
    def write_rules(rules):
        path = tmp_path / "rules.json"
        path.write_bytes(canonical_json(rules.to_json()))
        return path

    return write_rules


def test_replay_gives_every_logged_item_its_propensity(bundle, events):
    requests = read_requests(events)
    found = replay(requests, Release(bundle, "onnx"))
    assert found.agreement == 1.0 and found.unanswered == {} and found.logging is not None
    assert len(requests.user) == USERS * EACH and not requests.left_out
    odds = dict(zip(keys(found.logging), found.logging.probability.tolist(), strict=True))
    for one, propensity in zip(keys(found.log), found.log.propensity.tolist(), strict=True):
        assert odds[one] == pytest.approx(propensity)


def test_the_logging_release_earns_what_it_logged(bundle, events):
    found = policy_value(Question(bundle=bundle, events=events, engine="onnx"))
    logged = dataclasses.astuple(found.value.logged)
    assert dataclasses.astuple(found.value.ips) == pytest.approx(logged)
    # the model takes the noise of the draws out of both sides
    assert found.value.dr.value == pytest.approx(logged[0], abs=0.2 * found.value.dr.se)
    assert found.value.supported == 1.0 and found.value.support_known


@pytest.fixture
def failing(monkeypatch):
    """Let the models of releases fail in requests of one or more of six hours."""

    def fail(hours):
        whole = Recommender.recommend

        def recommend(device, query):
            slate = whole(device, query)
            fails = query.now_utc // 7200 % 6 in hours
            return dataclasses.replace(slate, source="fallback") if fails else slate

        monkeypatch.setattr(Recommender, "recommend", recommend)

    return fail


def test_requests_that_the_target_does_not_answer_are_left_out(bundle, events, failing):
    question = Question(bundle=bundle, events=events, engine="onnx")
    whole = policy_value(question)
    failing({1})
    with pytest.raises(
        PolicyValueRefusedError, match=r"did not answer 16\.\d% .*72 by fallback"
    ) as caught:
        policy_value(question)
    assert caught.value.code == "no_support"
    question = dataclasses.replace(question, limits=Limits(unsupported=0.2))
    found = policy_value(question)
    assert found.unanswered == {"fallback": 72}
    assert found.value.requests == whole.value.requests - 72
    assert found.value.supported == 1.0 and found.agreement == 1.0
    # of the answered requests, the target earns what it logged: none counts as 0
    assert found.value.ips.value == pytest.approx(found.value.logged.value)
    assert abs(found.value.ips.value - whole.value.ips.value) < 3 * whole.value.ips.se
    assert "left out, answered by the target's fallback: 72 requests" in list(lines(found))


def test_more_exploration_has_its_true_value(bundle, events, rules_file):
    question = Question(bundle=bundle, events=events, rules=rules_file(BOLDER), engine="onnx")
    found = policy_value(question)
    expected = truth(bundle, events, BOLDER)
    for name in ("ips", "snips", "dr"):
        one = getattr(found.value, name)
        assert one.low < expected < one.high
    logged = truth(bundle, events, None)
    assert abs(found.value.gain.value - (expected - logged)) < 3 * found.value.gain.se
    assert found.value.support_known and found.agreement == 1.0


def test_another_order_needs_the_position_based_assumption(bundle, events, rules_file):
    question = Question(bundle=bundle, events=events, rules=rules_file(OTHER_ORDER), engine="onnx")
    with pytest.raises(PolicyValueRefusedError, match="--assume position-based") as caught:
        policy_value(question)
    assert caught.value.code == "no_support"
    found = policy_value(dataclasses.replace(question, assumption="position-based"))
    expected = truth(bundle, events, OTHER_ORDER)
    assert found.value.dr.low < expected < found.value.dr.high
    assert found.examination is not None
    assert abs(found.examination.eta - ETA) < 3 * found.examination.se
    given = policy_value(dataclasses.replace(question, assumption="position-based", eta=ETA))
    assert given.examination is None
    assert given.value.dr.low < expected < given.value.dr.high


def test_other_weights_are_another_order(bundle, events):
    heads = Release(bundle, "onnx").bundle.spec.heads
    question = Question(
        bundle=bundle,
        events=events,
        weights={heads[0]: 0.0},
        assumption="position-based",
        engine="onnx",
        limits=Limits(unsupported=1.0, effective=0),
    )
    found = policy_value(question)
    assert found.value.gain.value != 0
    with pytest.raises(ValueError, match="the release has no head fun"):
        policy_value(dataclasses.replace(question, weights={"fun": 1.0}))


THOMPSON = CategoryThompson(epsilon=0.4, pool=12, first=1, alpha=1.0, beta=9.0)
LEARNING = Rules(rules=(THOMPSON,), depth=40)


def test_a_logging_release_that_learns_is_replayed_with_its_propensities(tmp_path):
    from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle

    write_tiny_bundle(tmp_path / "bundle", answers=True, rules=LEARNING)
    events = lived(tmp_path, tmp_path / "bundle", 12)
    requests, release = read_requests(events), Release(tmp_path / "bundle", "onnx")
    found = replay(requests, release)
    assert found.agreement == 1.0 and found.unanswered == {} and found.logging is not None
    odds = dict(zip(keys(found.logging), found.logging.probability.tolist(), strict=True))
    seen = [(odds[one], p) for one, p in zip(keys(found.log), found.log.propensity, strict=True)]
    assert len({round(p, 6) for _, p in seen}) > 20  # the chances changed with what was learnt
    assert [one for one, _ in seen] == pytest.approx([p for _, p in seen])
    # Without what the phones had learnt, the replay does not give these numbers.
    empty = [dataclasses.replace(past, shown_ts=past.shown_ts + 10**9) for past in requests.pasts]
    assert replay(dataclasses.replace(requests, pasts=tuple(empty)), release).agreement < 0.9


def test_rules_that_learn_have_their_value_in_the_logged_states(bundle, events, rules_file):
    # The pool of the logging release, so that it could show each item.
    rules = Rules(rules=(dataclasses.replace(THOMPSON, pool=6),), depth=40)
    question = Question(bundle=bundle, events=events, rules=rules_file(rules), engine="onnx")
    found = policy_value(dataclasses.replace(question, limits=Limits(unsupported=0.2)))
    expected = truth(bundle, events, rules)
    assert found.value.dr.low < expected < found.value.dr.high
    assert found.learns and found.agreement == 1.0
    assert any("learns from impressions" in line for line in lines(found))
    plain = policy_value(Question(bundle=bundle, events=events, engine="onnx"))
    assert not plain.learns and not any("learns" in line for line in lines(plain))


def test_the_position_based_assumption_needs_the_logging_release(
    bundle, events, tmp_path_factory, rules_file
):
    from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle

    other = tmp_path_factory.mktemp("other") / "bundle"
    write_tiny_bundle(other, answers=True, rules=OTHER_ORDER, name="other")
    question = Question(
        bundle=other, events=events, assumption="position-based", eta=ETA, engine="onnx"
    )
    with pytest.raises(PolicyValueRefusedError, match="--logged"):
        policy_value(question)
    found = policy_value(dataclasses.replace(question, logged=(bundle,)))
    assert found.agreement == 1.0 and found.target == "other"
    # events of devices that the export lacks change histories, and the replay shows it
    cut = tmp_path_factory.mktemp("half") / "events"
    shutil.copytree(events, cut)
    path = max(cut.glob("interactions/*/events.parquet"), key=lambda one: one.stat().st_size)
    pq.write_table(pq.read_table(path).slice(0, 40), path)
    with pytest.raises(PolicyValueRefusedError, match="gives the logged propensities in"):
        policy_value(dataclasses.replace(question, events=cut, logged=(bundle,)))


def test_the_command_prints_a_table_and_json(bundle, events, rules_file):
    words = ["policy-value", str(bundle), "--events", str(events), "--engine", "onnx"]
    words += ["--rules", str(rules_file(BOLDER)), "--reward", "like"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert "doubly robust" in done.output and "effective sample size" in done.output
    done = CliRunner().invoke(main, [*words, "--json", "--requests", "300"])
    found = json.loads(done.stdout)
    assert 300 <= found["value"]["requests"] < 300 + EACH
    assert found["value"]["dr"]["low"] < found["value"]["dr"]["high"]
    assert found["assumption"] == "item-position" and found["left_out"] == {}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--reward", "rent"], 2, "no event rent in the export"),
        (["--weights", "engage"], 2, "expected HEAD=WEIGHT"),
        (["--weights", "engage=nan"], 2, "finite"),
        (["--effective", "1000000"], 3, "weigh as many as"),
    ],
)
def test_the_command_refuses(bundle, events, words, code, message):
    base = ["policy-value", str(bundle), "--events", str(events), "--engine", "onnx"]
    done = CliRunner().invoke(main, [*base, *words])
    assert done.exit_code == code and message in done.output


def test_events_without_exploration_are_refused(bundle, events, tmp_path, rules_file):
    shutil.copytree(events, tmp_path / "events")
    path = next((tmp_path / "events").glob("impressions/*/events.parquet"))
    table = pq.read_table(path)
    at = table.schema.get_field_index("propensity")
    ones = pa.array(np.ones(len(table)))
    pq.write_table(table.set_column(at, "propensity", ones), path)
    words = ["policy-value", str(bundle), "--events", str(tmp_path / "events")]
    words += ["--rules", str(rules_file(BOLDER)), "--engine", "onnx"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 3 and "no impression was explored" in done.output
