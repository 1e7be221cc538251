import dataclasses
import socket
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec_bundle.features import History
from pocketrec_bundle.neighbours import Neighbours
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.settings.policy import Policy
from pocketrec_edge.errors import EngineError, SelfTestFailedError
from pocketrec_edge.recommend.index import Index, search
from pocketrec_edge.recommend.index_reference import exact
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.policy_rerank import rerank
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.releases.selftest import replay

NOW = 1_700_000_000


def history(*rows: int) -> History:
    n = len(rows)
    return History(np.array(rows, np.int32), np.ones(n, np.int32), NOW - np.arange(n, 0, -1))


@pytest.mark.parametrize("engine", ["litert", "onnx"])
def test_golden_vectors_replay_on_every_engine(release, engine):
    assert replay(release, engine) == 2


def test_engines_give_the_same_slate(release):
    one, two = (
        Recommender(release, e).recommend(Query(history(5, 40), NOW)) for e in ("litert", "onnx")
    )
    assert [i.item_id for i in one.items] == [i.item_id for i in two.items]
    assert one.source == two.source == "model"
    for a, b in zip(one.items, two.items, strict=True):
        assert a.score == pytest.approx(b.score, abs=1e-4)


def test_seen_and_withdrawn_items_are_never_shown(release):
    seen = list(range(0, 200, 3))
    slate = Recommender(release).recommend(Query(history(*seen), NOW, 30))
    shown = {i.row for i in slate.items}
    assert len(shown) == 30
    assert not shown & set(seen)
    assert all(row % 10 for row in shown)


def test_slate_is_full_while_enough_items_survive_the_filter(release):
    left = {295, 296, 297, 298, 299, 294, 293, 292, 291, 289}
    slate = Recommender(release).recommend(Query(history(*(set(range(300)) - left)), NOW))
    assert {i.row for i in slate.items} <= left
    assert len(slate.items) == 10


def test_reason_names_an_item_of_the_history(release):
    slate = Recommender(release).recommend(Query(history(7), NOW))
    assert {i.reason for i in slate.items} == {f"because of Title {release.item_id(7)}"}


class Broken:
    def __init__(self, answer):
        self.answer = answer

    def run(self, inputs):
        if self.answer is None:
            raise EngineError("broken on purpose")
        return self.answer


@pytest.mark.parametrize("answer", [None, np.full((50, 2), np.nan), np.zeros((3, 2))])
def test_broken_ranker_leaves_the_retrieval_order(release, answer):
    recommender = Recommender(release)
    recommender._ranker = Broken(answer)
    slate = recommender.recommend(Query(history(7), NOW))
    assert (slate.source, len(slate.items)) == ("retrieval", 10)
    assert [fault.code for fault in slate.faults] == ["ranker_failed"]
    scores = [i.retrieval_score for i in slate.items[:4]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("answer", [None, np.full((1, 16), np.inf)])
def test_broken_tower_leaves_popular_items(release, answer):
    recommender = Recommender(release)
    recommender._tower = Broken(answer)
    slate = recommender.recommend(Query(history(1, 2), NOW))
    assert slate.source == "fallback"
    assert [i.row for i in slate.items] == [3, 4, 5, 6, 7, 8, 9, 11, 12, 13]


def test_self_test_refuses_a_release_whose_model_answers_otherwise(release, monkeypatch):
    wrong = dataclasses.replace(release.policy, category_cap=1)
    monkeypatch.setattr(release, "policy", wrong)
    with pytest.raises(SelfTestFailedError):
        replay(release, "onnx")


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(0, 60))
@settings(deadline=None, max_examples=40)
def test_scanning_all_cells_equals_the_plain_reference(seed, k, n_excluded):
    rng = np.random.default_rng(seed)
    index = Index(
        rng.normal(size=(3, 4)).astype(np.float32),
        np.array([0, 20, 20, 60], np.int32),
        rng.integers(-127, 128, (60, 4)).astype(np.int8),
        rng.choice(np.array([0.5, 0.25], np.float32), 60),
    )
    excluded = np.zeros(60, bool)
    excluded[rng.permutation(60)[:n_excluded]] = True
    query = rng.integers(-3, 4, 4).astype(np.float32)  # exact in both, so ties are real ties
    rows, scores = search(index, query, k, 0, excluded)
    assert rows.tolist() == exact(index, query, k, excluded)
    assert (np.diff(scores) <= 0).all()


def test_probe_goes_on_until_k_survive(release):
    index = Index.of(release)
    excluded = np.ones(300, bool)
    excluded[[5, 150, 290]] = False
    rows, _ = search(index, np.ones(16, np.float32), 3, 1, excluded)
    assert sorted(rows.tolist()) == [5, 150, 290]


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(0, 4))
@settings(deadline=None, max_examples=60)
def test_rerank_keeps_its_rules_for_any_candidates(seed, k, cap):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 40))
    policy = Policy(slate=10, category_cap=cap, near_duplicate_cosine=0.9, probes=0, candidates=50)
    vectors = rng.normal(size=(n, 3)).astype(np.float32)
    scores = rng.permutation(n).astype(np.float32)
    category = rng.integers(0, 4, n).astype(np.int32)
    chosen = rerank(policy, scores, vectors, category, k)
    assert len(chosen) == len(set(chosen)) <= k
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = units[chosen] @ units[chosen].T - np.eye(len(chosen))
    assert (cosine < 0.9).all()
    order = rng.permutation(n)
    again = rerank(policy, scores[order], vectors[order], category[order], k)
    assert [int(order[i]) for i in again] == chosen


def test_cap_is_kept_while_other_categories_can_fill_the_slate():
    policy = Policy(slate=4, category_cap=2, near_duplicate_cosine=2.0, probes=0, candidates=9)
    scores = np.array([9, 8, 7, 6, 5], np.float32)
    category = np.array([1, 1, 1, 2, 2], np.int32)
    vectors = np.eye(5, dtype=np.float32)
    assert rerank(policy, scores, vectors, category, 4) == [0, 1, 3, 4]
    assert rerank(policy, scores, vectors, category, 5) == [0, 1, 3, 4, 2]


def test_device_needs_only_numpy_and_one_engine(small_release, tmp_path):
    code = f"""
import sys
before = set(sys.modules)
from pathlib import Path
from pocketrec_edge.device import Device
d = Device(Path({str(tmp_path)!r}), engine="litert", bundle=Path({str(small_release)!r}))
assert len(d.recommend().items) == 10
tops = {{m.partition(".")[0] for m in set(sys.modules) - before}}
print(sorted(tops - set(sys.stdlib_module_names)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    third_party = {m for m in eval(done.stdout) if not m.startswith("_")}  # noqa: S307 - our own print
    allowed = {"numpy", "pocketrec_bundle", "pocketrec_edge", "ai_edge_litert", "flatbuffers"}
    assert third_party <= allowed


CHILD = """
import sys
from pathlib import Path
from pocketrec_edge.device import Device
from pocketrec_edge.offline import forbid_sockets
if sys.argv[3] == "forbid":
    forbid_sockets()
d = Device(Path(sys.argv[1]), bundle=Path(sys.argv[2]))
answer = d.recommend()
assert len(answer.items) == 10 and answer.source == "model", answer
assert not answer.faults, answer
import socket
try:
    socket.create_connection(("127.0.0.1", 9), timeout=1)
except Exception as err:
    print(type(err).__name__)
"""


def test_device_answers_with_every_socket_refused(small_release, tmp_path):
    words = [sys.executable, "-c", CHILD, str(tmp_path), str(small_release), "forbid"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "OfflineError"


def test_device_answers_in_a_network_namespace_with_no_interface_up(small_release, tmp_path):
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this kernel does not let us make network namespaces")
    words = ["unshare", "-rn", sys.executable, "-c", CHILD, str(tmp_path), str(small_release), ""]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "OSError"  # even loopback is down
    assert socket.AF_INET


def chosen_one_by_one(policy, scores, vectors, category, k):
    """Re-ranking in plain loops."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    chosen: list[int] = []
    capped: list[int] = []
    used: dict[int, int] = {}
    for position in np.argsort(-scores, kind="stable").tolist():
        if any(units[position] @ units[other] >= policy.near_duplicate_cosine for other in chosen):
            continue
        group = int(category[position])
        if policy.category_cap and group and used.get(group, 0) == policy.category_cap:
            capped.append(position)
            continue
        used[group] = used.get(group, 0) + 1
        chosen.append(position)
    for position in capped:
        if all(units[position] @ units[other] < policy.near_duplicate_cosine for other in chosen):
            chosen.append(position)
    return chosen[:k]


@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 20, 200]), st.integers(0, 6))
@settings(deadline=None, max_examples=40)
def test_rerank_of_several_blocks_equals_plain_loops(seed, k, cap):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 400))
    policy = Policy(slate=10, category_cap=cap, near_duplicate_cosine=0.9, probes=0, candidates=50)
    vectors = rng.integers(-3, 4, (n, 5)).astype(np.float32) + 0.5
    scores = rng.integers(0, 50, n).astype(np.float32)
    category = rng.integers(0, 9, n).astype(np.int32)
    found = rerank(policy, scores, vectors, category, k)
    # Which of the capped fill up depends on all that was chosen: compare where the slate is full.
    expected = chosen_one_by_one(policy, scores, vectors, category, k)
    assert found == expected


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 12), st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_probe_reads_the_nearest_cells_and_on_to_the_kth_survivor(seed, k, probes, share):
    rng = np.random.default_rng(seed)
    n_cells, n = 12, 200
    ends = np.sort(rng.integers(0, n + 1, n_cells - 1))
    index = Index(
        rng.integers(-9, 10, (n_cells, 4)).astype(np.float32),
        np.array([0, *ends, n], np.int32),
        rng.integers(-127, 128, (n, 4)).astype(np.int8),
        rng.choice(np.array([0.5, 0.25], np.float32), n),
    )
    excluded = rng.random(n) < share
    query = rng.integers(-3, 4, 4).astype(np.float32)
    read, kept = [], 0
    for place, cell in enumerate(np.argsort(-(index.centroids @ query), kind="stable")):
        if place >= probes and kept >= k:
            break
        cell_rows = range(index.offsets[cell], index.offsets[cell + 1])
        read += [row for row in cell_rows if not excluded[row]]
        kept = len(read)
    scores = {row: float(index.vectors(np.array([row]))[0] @ query) for row in read}
    best = sorted(read, key=lambda row: (-scores[row], row))[:k]
    rows, found = search(index, query, k, probes, excluded)
    assert rows.tolist() == best
    assert found.tolist() == [scores[row] for row in best]


def test_votes_are_added_up_once_a_request(tiny_release, monkeypatch):
    device = Recommender(open_bundle(tiny_release), "onnx")
    times, plain = [], Neighbours.votes

    def counted(*of):
        times.append(1)
        return plain(*of)

    monkeypatch.setattr(Neighbours, "votes", counted)
    assert device.recommend(Query(history(3, 7), NOW)).source == "model"
    assert len(times) == 1
