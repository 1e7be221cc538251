"""The page of a release: its card, models, gates, differences, and who did what."""

import hashlib
import html
import json
import re
from typing import Any

import pytest

from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle
from pocketrec_server.repository.history import Note
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.publish import change_policy, publish, read_policy
from pocketrec_server.repository.rollout import changed

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
