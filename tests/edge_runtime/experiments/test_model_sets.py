"""A release holds the rankers of several arms; a device answers with that of its own arm."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from pocketrec_bundle.encoding.arrays import encode_array
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.golden.set_proof import check_sets
from pocketrec_bundle.manifest import parse_manifest
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.settings.experiment import SHIPPED
from pocketrec_bundle.settings.experiment_arms import Arm
from pocketrec_bundle.settings.model_sets import set_files, set_names, set_of
from pocketrec_edge.device import Device
from pocketrec_edge.engines.onnx_engine import OnnxEngine
from pocketrec_edge.engines.select import needed_files, set_rankers, spare_files
from pocketrec_edge.errors import EngineError, SelfTestFailedError
from pocketrec_edge.experiments import arm_models
from pocketrec_edge.experiments.arm_models import FAILED, PASSED, TESTING, ArmModel
from pocketrec_edge.faults import FaultCode
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.releases.set_test import check_ranker
from pocketrec_edge.releases.store import Store

FILE = "models/against/ranker.onnx.fp32"
LIKED = ("item 14", "item 7", "item 21")


@pytest.fixture
def own_copy(two_rankers, tmp_path):
    return shutil.copytree(two_rankers, tmp_path / "own")


def replaced(folder, name, data):
    """Replace a file of a bundle, with the manifest that a publisher would sign for it."""
    import hashlib

    value = json.loads((folder / "manifest.json").read_bytes())
    (entry,) = [one for one in value["files"] if one["name"] == name]
    entry |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / "files" / entry["sha256"]).write_bytes(data)
    (folder / "manifest.json").write_text(json.dumps(value))


def edit_entry(folder, name, **changes):
    """Change an entry of a bundle's manifest."""
    value = json.loads((folder / "manifest.json").read_bytes())
    (entry,) = [one for one in value["files"] if one["name"] == name]
    entry |= changes
    (folder / "manifest.json").write_text(json.dumps(value))


def shown(device, **more):
    answer = device.recommend(5, log_impressions=False, **more)
    return [(item.item_id, item.score) for item in answer.items], answer


def liked(phone):
    for item in LIKED:
        phone.device.feedback(item, "like")


def of_ranker(folder, model_set):
    """What the release answers with one ranker, by the engine itself."""
    bundle = open_bundle(folder)
    path = bundle.path("models/ranker.onnx.fp32" if model_set is None else FILE)
    tower = OnnxEngine(bundle.path("models/user_tower.onnx.fp32"))
    return Recommender(bundle, "onnx", models=(tower, OnnxEngine(path)))


def test_each_arm_is_answered_by_its_own_ranker(two_rankers, phone_of, experiment):
    one = experiment(treatment={"models": "against"})
    found = {}
    for arm in ("control", "treatment"):
        phone = phone_of(two_rankers, arm)
        phone.has(one)
        phone.draws(arm, one)
        liked(phone)
        found[arm], answer = shown(phone.device)
        assert answer.arms == {"blend": arm} and answer.source == "model" and not answer.faults
        running = phone.device._running
        running.recommender = of_ranker(two_rankers, None if arm == "control" else "against")
        phone.has()
        assert shown(phone.device)[0] == found[arm]
    assert found["control"] != found["treatment"]


def test_the_explanation_of_a_slate_is_of_the_arm_s_ranker(two_rankers, phone_of, experiment):
    phone = phone_of(two_rankers)
    phone.has(experiment(treatment={"models": "against"}))
    liked(phone)
    phone.device.force_arm("blend", "control")
    own = phone.device.explain(k=3)
    phone.device.force_arm("blend", "treatment")
    explained = phone.device.explain(k=3)
    assert explained.slate == tuple(item for item, _ in shown(phone.device)[0][:3])
    assert [item.score for item in explained.items] != [item.score for item in own.items]
    for item in explained.items:
        assert item.score == pytest.approx(
            item.probabilities["engage"] + 0.5 * item.probabilities["like"], abs=1e-5
        )


def test_all_arms_are_exposed_alike_whatever_the_set(two_rankers, phone_of, experiment):
    """Intention to treat: a device that could not load its ranker stays in its arm."""
    one = experiment(treatment={"models": "nobody-has-it"})
    for arm in ("control", "treatment"):
        for scene, more in (("home", {}), ("search", {"results": LIKED})):
            phone = phone_of(two_rankers, f"{arm}-{scene}")
            phone.has(one)
            phone.draws(arm, one)
            answer = phone.device.recommend(3, scene=scene, **more)
            assert answer.arms == {"blend": arm}
            (exposure,) = phone.events("exposure")
            assert (exposure.event, exposure.context["arm"]) == ("blend", arm)


def test_an_arm_without_its_set_answers_as_control_with_a_fault(two_rankers, phone_of, experiment):
    phone = phone_of(two_rankers)
    liked(phone)
    own, _ = shown(phone.device)
    rules = {"version": 1, "depth": 8, "rules": [{"kind": "mmr", "relevance": 0.1}]}
    phone.has(experiment(treatment={"models": "other", "rules": rules}))
    phone.device.force_arm("blend", "treatment")
    found, answer = shown(phone.device)
    assert found == own  # the arm's rules do not apply either
    (fault,) = answer.faults
    assert fault.code == FaultCode.ARM_UNUSABLE
    assert "arm treatment: the release has no model set 'other' for onnx" in fault.text


def test_a_set_of_control_counts_too(two_rankers, phone_of, experiment):
    arms = (Arm(name="control", share=0.5, models="against"), Arm(name="plain", share=0.5))
    phone = phone_of(two_rankers)
    phone.has(experiment(arms=arms))
    liked(phone)
    found = {}
    for arm in ("control", "plain"):
        phone.device.force_arm("blend", arm)
        found[arm], answer = shown(phone.device)
        assert not answer.faults
    assert found["control"] != found["plain"]
    wrong = (arms[0], Arm(name="plain", share=0.5, models="other"))
    phone.has(experiment(arms=wrong))
    assert shown(phone.device)[0] == found["control"]


def test_a_shipped_arm_s_ranker_answers_every_device(two_rankers, phone_of, experiment):
    phone = phone_of(two_rankers)
    liked(phone)
    own, _ = shown(phone.device)
    phone.has(experiment(treatment={"models": "against"}, state=SHIPPED, winner="treatment"))
    found, answer = shown(phone.device)
    assert found != own and answer.arms == {}
    assert phone.events("exposure") == []


def test_a_ranker_of_another_shape_is_a_fault_and_the_release_s_ranks(
    own_copy, phone_of, experiment
):
    tower = open_bundle(own_copy).read("models/user_tower.onnx.fp32")
    replaced(own_copy, FILE, tower)
    phone = phone_of(own_copy)
    liked(phone)
    own, _ = shown(phone.device)
    phone.has(experiment(treatment={"models": "against"}))
    phone.device.force_arm("blend", "treatment")
    found, answer = shown(phone.device)
    assert (found, answer.source) == (own, "model")
    (fault,) = answer.faults
    assert fault.code == FaultCode.ARM_UNUSABLE and "the release's ranker answers" in fault.text


def test_a_ranker_that_is_no_model_is_a_fault_and_control_answers(own_copy, phone_of, experiment):
    replaced(own_copy, FILE, b"no model")
    phone = phone_of(own_copy)
    liked(phone)
    own, _ = shown(phone.device)
    phone.has(experiment(treatment={"models": "against"}))
    phone.device.force_arm("blend", "treatment")
    found, answer = shown(phone.device)
    assert (found, answer.source) == (own, "model")
    assert [fault.code for fault in answer.faults] == [FaultCode.ARM_UNUSABLE]


def test_devices_need_no_file_of_a_set(two_rankers):
    manifest = parse_manifest((two_rankers / "manifest.json").read_bytes())
    assert set_names(manifest) == ("against",)
    (entry,) = set_files(manifest, "against", "onnx")
    assert (entry.name, set_of(entry)) == (FILE, "against")
    assert set_rankers(manifest, "against", "onnx") == [entry]
    assert entry not in needed_files(manifest) and entry not in spare_files(manifest)
    assert manifest.models("ranker", "onnx") == [manifest.entry("models/ranker.onnx.fp32")]


def test_an_installed_release_has_no_ranker_of_an_arm_until_a_sync(
    two_rankers, tmp_path, phone_of, experiment
):
    phone = phone_of(two_rankers, "other")
    with Device(tmp_path / "phone", engine="onnx", clock=lambda: phone.now) as device:
        device.install(two_rankers)
        store = Store(tmp_path / "phone" / "store")
        entry = store.read_manifest(str(store.active()[0])).entry(FILE)
        assert not store.has(entry) and store.lacks(str(store.active()[0])) == []
        phone.home = device._home
        phone.has(experiment(treatment={"models": "against"}))
        device.force_arm("blend", "treatment")
        _, answer = shown(device)
        (fault,) = answer.faults
        assert "its ranker comes with the next sync; control answers" in fault.text


def stored(two_rankers, folder):
    """A phone's store with the release and the ranker of its set, passed."""
    home = folder / "phone"
    with Device(home, engine="onnx") as device:
        device.install(two_rankers)
        store, at = Store(device._home.store), device._home
    entry = store.read_manifest(str(store.active()[0])).entry(FILE)

    def copy(wanted, path):
        path.write_bytes((two_rankers / "files" / wanted.sha256).read_bytes())

    store.add(entry, copy)
    here = arm_models.runtime_of("onnx")
    arm_models.keep(at, ArmModel(file=entry.sha256, state=PASSED, runtime=here))
    return at, store, entry


def test_a_ranker_that_passed_answers_and_a_damaged_one_does_not_take_the_release_along(
    two_rankers, tmp_path, phone_of, experiment
):
    home, store, entry = stored(two_rankers, tmp_path)
    other = phone_of(two_rankers, "other")
    other.home = home
    other.has(experiment(treatment={"models": "against"}))
    with Device(home.folder, engine="onnx", clock=lambda: other.now) as device:
        for item in LIKED:
            device.feedback(item, "like")
        device.force_arm("blend", "control")
        own, _ = shown(device)
        device.force_arm("blend", "treatment")
        found, answer = shown(device)
        assert found != own and not answer.faults
    path = store.files / entry.sha256
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with Device(home.folder, engine="onnx", clock=lambda: other.now) as device:
        found, answer = shown(device)
        assert (found, answer.source, answer.release) == (own, "model", "2")
        codes = {fault.code for fault in answer.faults}
        assert codes == {FaultCode.RELEASE_DAMAGED, FaultCode.ARM_UNUSABLE}


def test_two_starts_without_a_slate_are_blamed_on_the_arm_before_the_release(two_rankers, tmp_path):
    home, store, entry = stored(two_rankers, tmp_path)
    active = str(store.active()[0])
    for failed in range(2):
        assert arm_models.find(home, entry.sha256, "onnx").state == PASSED, failed
        home.trial.write_bytes(active.encode() + b"?" * (failed + 1))
        Device(home.folder, engine="onnx").close()
    known = arm_models.find(home, entry.sha256, "onnx")
    assert known.state == FAILED and "no slate in 2 starts" in known.why
    with pytest.raises(EngineError, match="no slate in 2 starts"):
        arm_models.check(home, store.read_manifest(active), "against", "onnx")
    assert store.active()[0] == active


def test_an_erasure_forgets_the_ranker_of_the_arm(two_rankers, tmp_path):
    home, store, _ = stored(two_rankers, tmp_path)
    with Device(home.folder, engine="onnx") as device:
        device.erase()
    assert not home.arm_models.exists()
    manifest = store.read_manifest(str(store.active()[0]))
    with pytest.raises(EngineError, match="comes with the next sync"):
        arm_models.check(home, manifest, "against", "onnx")


def test_another_runtime_tests_a_ranker_again(tmp_path, two_rankers):
    home, _, entry = stored(two_rankers, tmp_path)
    known = arm_models.find(home, entry.sha256, "onnx")
    arm_models.keep(home, replace(known, state=FAILED, why="bad", runtime="onnxruntime 0.1"))
    assert arm_models.find(home, entry.sha256, "onnx").state == TESTING


@pytest.mark.parametrize("data", [b"", b"[", b"{}", b"[1]", b'[{"file":"x"}]', b"[" * 5000])
def test_a_damaged_memory_of_rankers_counts_as_none(tmp_path, two_rankers, data):
    home, _, entry = stored(two_rankers, tmp_path)
    home.arm_models.write_bytes(data)
    assert arm_models.read(home) == ()
    assert arm_models.find(home, entry.sha256, "onnx").state == TESTING


def test_the_test_of_a_ranker_passes_its_own_proof_and_no_other_ranker(own_copy):
    bundle = open_bundle(own_copy)
    entry = bundle.manifest.entry(FILE)
    assert check_ranker(bundle, entry, "onnx") <= 1
    replaced(own_copy, FILE, bundle.read("models/ranker.onnx.fp32"))
    with pytest.raises(SelfTestFailedError, match="a probability is off by"):
        check_ranker(other := open_bundle(own_copy), other.manifest.entry(FILE), "onnx")


def test_a_proof_of_another_form_is_refused(own_copy):
    check_sets(open_bundle(own_copy), 3)
    replaced(own_copy, "golden/probabilities.against", encode_array(np.zeros((3, 20, 1), "f4")))
    with pytest.raises(BundleInvalidError, match=r"probabilities\.against") as caught:
        check_sets(open_bundle(own_copy), 3)
    assert caught.value.code == "array_form"


@pytest.mark.parametrize(
    ("meta", "match", "code"),
    [
        ({"score_tolerance": -1}, "score_tolerance must be a number from 0", "golden_value"),
        ({"score_tolerance": "none"}, "score_tolerance must be a number", "golden_value"),
        ({}, "score_tolerance must be a number", "golden_value"),
    ],
)
def test_a_proof_without_a_tolerance_is_refused(own_copy, meta, match, code):
    edit_entry(own_copy, "golden/probabilities.against", meta=meta)
    bundle = open_bundle(own_copy)
    with pytest.raises(BundleInvalidError, match=match) as caught:
        check_ranker(bundle, bundle.manifest.entry(FILE), "onnx")
    assert caught.value.code == code


def test_a_set_without_a_ranker_for_an_engine_of_the_release_is_refused(own_copy):
    of_litert = {"model": "arm_ranker", "set": "against", "engine": "litert", "variant": "fp32"}
    edit_entry(own_copy, FILE, meta=of_litert)
    with pytest.raises(BundleInvalidError, match="against has no ranker for onnx") as caught:
        check_sets(open_bundle(own_copy), 3)
    assert caught.value.code == "file_unlisted"


@pytest.mark.parametrize("name", ["", "Against", "a" * 33, "a/b", 5])
def test_a_file_of_a_set_without_a_name_is_in_no_set(own_copy, name):
    """Readers ignore it, as every model that they do not open."""
    edit_entry(own_copy, FILE, meta={"model": "arm_ranker", "set": name, "engine": "onnx"})
    bundle = open_bundle(own_copy)
    assert set_names(bundle.manifest) == ()
    assert bundle.manifest.entry(FILE) not in needed_files(bundle.manifest)
