"""The page of a release: its card, models, gates, differences, and who did what."""

import hashlib
import html
import json
import re
import time
from typing import Any

import pytest

from pocketrec_bundle.settings.experiment_arms import Guardrail
from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle
from pocketrec_server.halting.looks import Look, claim, finish, name_of
from pocketrec_server.halting.release_guard import RELEASE
from pocketrec_server.halting.release_limits import (
    change_guardrails,
    guarded_stage,
    with_guardrail,
)
from pocketrec_server.repository.history import Note
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.publish import change_policy, publish, read_policy
from pocketrec_server.repository.rollout import changed
from pocketrec_server.storage.database import default_url, open_database

GATE: dict[str, Any] = {
    "target": "android",
    "model": "user_tower",
    "check": "cosine",
    "value": 0.99987,
}
GATE |= {"limit": 0.9999, "passed": False, "warned": False, "key": "export.cosine", "note": ""}
CARD: dict[str, Any] = {
    "fit": "final",
    "training": {"valid_ndcg10": 0.79159, "seed": 7, "ranker_gain": "NDCG@10 +0.1383"},
    "final": {"epochs": 4},
    "data": {"dataset": "shop", "licence": "CC0", "interactions": 123_456, "users": 406},
    "export": {
        "items": 48,
        "baseline_gain": "better than popularity",
        "golden_cases": 16,
        "shipped": [
            {
                "target": "android",
                "engine": "onnx",
                "user_tower": "fp16",
                "ranker": "fp32",
                "models_bytes": 76_160,
                "passed": True,
                "warned": True,
            }
        ],
        "gates": [
            GATE | {"variant": "fp16", "passed": True},
            GATE | {"variant": "int8"},
            GATE | {"variant": "fp16", "model": "ranker"},
            GATE | {"variant": "fp16 + fp32", "model": "both", "check": "NDCG@10 loss"},
        ],
    },
}


@pytest.fixture
def with_file(tmp_path):
    """Return a function: bundle, file, JSON value -> the bundle with this file in place."""

    def change(bundle, name, value):
        data = json.dumps(value, separators=(",", ":")).encode()
        sha = hashlib.sha256(data).hexdigest()
        (bundle / "files" / sha).write_bytes(data)
        manifest = json.loads((bundle / "manifest.json").read_bytes())
        for entry in manifest["files"]:
            if entry["name"] == name:
                entry |= {"sha256": sha, "bytes": len(data)}
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        return bundle

    return change


@pytest.fixture
def publish_card(tiny_repo, tmp_path, with_file):
    """Return a function that publishes a release with a model card; its manifest's hash."""

    def run(name, card, **more):
        write_tiny_bundle(tmp_path / name, answers=True, name=name, **more)
        bundle = with_file(tmp_path / name, "model_card.json", card)
        signers = load_signers(tmp_path / "keys")
        publish(bundle, tiny_repo, signers, "stable", note=Note(by="bob@build-7"))
        return read_policy(tiny_repo, "stable").releases[0].manifest

    return run


def read(person, manifest):
    """Text of the page without markup."""
    page = person.get(f"releases/stable/{manifest}")
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


def test_a_release_shows_its_card_models_and_gates(alice, publish_card):
    text = read(alice, publish_card("carded", CARD))
    for said in ("NDCG@10 +0.1383", "better than popularity", "0.79159", "123,456", "CC0"):
        assert said in text
    assert "android onnx fp16 + fp32 76.2 kB passed, with a warning" in text
    assert "2 checks of these models" in text and "2 more checks are of models" in text
    checks = text.partition("2 checks")[2]
    assert checks.index("both fp16 + fp32 NDCG@10 loss 0.99987 0.9999 failed") < checks.index(
        "user_tower fp16 cosine 0.99987 0.9999 passed"
    )
    assert "user_tower onnx fp32" in text and "1.17.0" in text


def test_the_rankers_of_model_sets_are_listed_with_their_sizes(alice, publish_card):
    text = read(alice, publish_card("with-set", CARD, sets={"against": -10.0}))
    assert re.search(r"ranker of model set against onnx fp32 1\.17\.0 [\d.]+ kB", text)
    assert re.search(r" ranker onnx fp32 1\.17\.0 [\d.]+ kB", text)


def test_a_release_is_compared_with_the_previous_one(alice, publish_card, tiny_repo, tmp_path):
    publish_card("old", CARD)
    better = CARD | {"training": CARD["training"] | {"valid_ndcg10": 0.8}}
    text = read(alice, publish_card("new", better, changed=3))
    assert "Compared with old, the previous release Catalogue update: same models." in text
    assert "0.8 before: 0.79159" in text
    assert re.search(r" index/ \d+ [\d.]+ k?B [\d.]+ k?B 1 ", text)
    assert "No setting of the policy" in text


def test_changed_settings_are_listed_with_both_values(
    alice, publish_card, with_file, tiny_repo, tmp_path
):
    write_tiny_bundle(tmp_path / "ruled", answers=True, name="ruled")
    bundle = tmp_path / "ruled"
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    (sha,) = [one["sha256"] for one in manifest["files"] if one["name"] == "policy.json"]
    policy = json.loads((bundle / "files" / sha).read_bytes())
    publish_card("before", CARD)
    with_file(bundle, "policy.json", policy | {"category_cap": 3})
    publish(bundle, tiny_repo, load_signers(tmp_path / "keys"), "stable")
    text = read(alice, read_policy(tiny_repo, "stable").releases[0].manifest)
    assert "policy.json: category_cap 2 3" in text


def test_the_page_says_who_published_and_changed_it(alice, publish_card, tiny_repo, tmp_path):
    manifest = publish_card("audited", CARD)
    change_policy(
        tiny_repo,
        load_signers(tmp_path / "keys"),
        "stable",
        lambda policy: changed(policy, policy.releases[0], percent=40.0),
        Note(by="carol@laptop", reason="slowly"),
        "stage",
    )
    text = read(alice, manifest).partition("Who did what")[2]
    assert re.search(
        r"carol@laptop stage percent 20 percent 40 slowly .* bob@build-7 publish", text
    )


@pytest.mark.parametrize(
    "card",
    [
        {},
        {"export": [], "training": 7, "data": "x"},
        {"export": {"shipped": [3, {"target": {}}], "gates": {"a": 1}}},
        {"export": {"shipped": [{}], "gates": [{"value": None}, "x"]}, "fit": ["final"]},
    ],
)
def test_a_card_of_another_shape_leaves_gaps_and_no_crash(alice, publish_card, card):
    text = read(alice, publish_card("odd", card))
    assert "Quality, from its model card Size" in text


def test_a_damaged_card_is_left_out(alice, publish_card, tiny_repo):
    manifest = publish_card("damaged", CARD)
    (card,) = [
        p for p in (tiny_repo / "targets" / "files").iterdir() if b"than popularity" in _of(p)
    ]
    card.write_bytes(card.read_bytes().replace(b"popularity", b"everything"))
    assert "better than" not in read(alice, manifest)


def test_an_unknown_release_is_a_page_that_says_so(alice):
    for path, said in (
        ("stable/" + "0" * 64, "stable has no release"),
        ("x/" + "0" * 64, "no cha"),
    ):
        reply = alice.client.get(f"/admin/releases/{path}")
        assert (reply.status_code, said in reply.text) == (404, True)


def _of(path):
    return path.read_bytes()


def test_guardrails_of_releases_and_their_latest_looks_are_shown(
    alice, tiny_repo, two_releases, tmp_path
):
    assert "Guardrails of releases: no guardrails." in alice.get("releases")
    signers, engine = load_signers(tmp_path / "keys"), open_database(default_url(tiny_repo))
    rail = Guardrail(metric="ctr", worse_by=0.05, alpha=0.01)
    change_guardrails(tiny_repo, signers, "stable", lambda before: with_guardrail(before, rail))
    assert "Guardrails of releases: ctr 0.05 0.01 over 14 days." in alice.get("releases")
    stage = read_policy(tiny_repo, "stable").releases[0]
    guarded = guarded_stage(tiny_repo, "stable", stage, time.time())
    assert guarded is not None
    facts: dict[str, Any] = {"arm": RELEASE, "guardrail": name_of(rail), "day": 1, "networks": 60}
    facts |= {"control": 0.1, "treatment": 0.0804, "information": 1.0, "bound": 3.2, "broken": 1}
    claim(engine, guarded.subject, 1, int(time.time()))
    finish(engine, guarded.subject, 1, [Look(subject=guarded.subject, z=3.456, **facts)])
    for path in ("releases", f"releases/stable/{stage.manifest}"):
        text = alice.get(path)
        assert "day 1: ctr 0.0804, 0.1 in" in text and "z 3.46 of 3.20" in text
