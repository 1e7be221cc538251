"""The small twin of `off-policy`: few logs, and files in the form of Open Bandit Data."""

import math

import numpy as np
import pytest

pytest.importorskip("duckdb", reason="needs the train extra")

from benchmarks.harness import Options, document
from benchmarks.quality import off_policy
from benchmarks.support.off_policy import open_bandit
from benchmarks.support.off_policy.simulated_slates import World

LOGS = {"item-position": 12, "position-based": 12}
RATES = {"random": [1 / 4] * 4, "bts": [0.4, 0.3, 0.2, 0.1]}
CLICKS = [0.3, 0.2, 0.1, 0.05]


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Logs of both policies over four items at three places, with known click rates."""
    folder, rng, n = tmp_path_factory.mktemp("bandit"), np.random.default_rng(0), 3000
    for policy, rates in RATES.items():
        for campaign in open_bandit.CAMPAIGNS:
            base = folder / policy / campaign
            base.mkdir(parents=True)
            lines = [",timestamp,item_id,position,click,propensity_score"]
            for row in range(n):
                item = int(rng.choice(4, p=rates))
                click = int(rng.random() < CLICKS[item])
                lines.append(f"{row},2019-11-24,{item},{1 + row % 3},{click},{rates[item]}")
            (base / f"{campaign}.csv").write_text("\n".join(lines))
            items = [f"{item},{item / 4}" for item in range(4)]
            (base / "item_context.csv").write_text("\n".join(["item_id,item_feature_0", *items]))
    return folder


@pytest.fixture(scope="module")
def result(tmp_path_factory, sample):
    work = tmp_path_factory.mktemp("off-policy")
    return off_policy.run(Options(work=work, data=sample), logs=LOGS, users=120, each=3)


def test_estimates_are_near_the_truth(result):
    for row in result.rows:
        if row["data"].startswith("simulated"):
            assert row["mean"] == pytest.approx(row["truth"], abs=4 * row["rmse"] / math.sqrt(12))
            assert row["width"] > 0 and row["logs"] == 12
        else:
            assert abs(row["z"]) < 4
            assert row["low"] < row["mean"] < row["high"]
    assert len(result.rows) == 3 * 2 + 3 * 3


def test_figures_are_those_of_the_rows(result):
    found = document(result)["figures"]
    by = {(row["data"], row["estimator"]): row for row in result.rows}
    own, peer = by["simulated, item-position", "dr"], by["simulated, item-position", "ips"]
    assert found["coverage_95"] == own["coverage_95"]
    assert found["dr_error_by_ips"] == pytest.approx(own["rmse"] / peer["rmse"])
    assert 0 <= found["coverage_95_position_based"] <= 1


def test_targets_earn_more_than_the_logged_slates():
    world, rng = World(5), np.random.default_rng(1)
    requests = world.requests(rng, 500, 1)
    own = world.value(requests, requests.order[:, : world.places])
    assert own < world.value(requests, world.swapped(requests))
    assert world.value(requests, world.swapped(requests)) < world.value(
        requests, world.sorted_anew(requests)
    )


def test_a_log_of_the_world_has_the_odds_of_its_policy():
    world, rng = World(6), np.random.default_rng(2)
    requests = world.requests(rng, 50, 2)
    log, logging = world.log(requests, rng, by_place=True), world.logging(requests)
    odds = dict(
        zip(
            zip(logging.request, logging.place, logging.item, strict=True),
            logging.probability,
            strict=True,
        )
    )
    for key, propensity in zip(
        zip(log.request, log.place, log.item, strict=True), log.propensity, strict=True
    ):
        assert odds[key] == pytest.approx(propensity)


def test_bts_s_odds_are_its_shares_at_each_place(sample):
    uniform = open_bandit.read(sample, "random", "all")
    own = open_bandit.read(sample, "bts", "all")
    log = off_policy.bandit_log(uniform, own)
    at = (own.place == 2) & (own.item == 1)
    share = at.sum() / (own.place == 2).sum()
    row = int(np.flatnonzero((uniform.place == 2) & (uniform.item == 1))[0])
    assert log.weight[row] == pytest.approx(share * 4)
    assert log.expected.sum(axis=1) == pytest.approx(np.ones(len(uniform.item)))
