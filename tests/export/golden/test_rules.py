"""The rules' golden slates: each rule binds, none hangs on rounding, and plain loops agree."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from pocketrec_bundle.features import MAX_VOCABULARY
from pocketrec_bundle.golden.rules import GoldenRules
from pocketrec_bundle.settings.rules import EXPLORING, KINDS, NAMES, Dpp, Mmr, NearDuplicates
from pocketrec_edge.recommend.index import units
from pocketrec_edge.recommend.rules import reference
from pocketrec_edge.releases.golden_rules import Table, answered_slate
from pocketrec_export.golden.rules import golden_rules


@pytest.fixture(scope="module")
def golden() -> GoldenRules:
    return golden_rules()


def without(case, at: int):
    rules = case.rules.rules
    return replace(case, rules=replace(case.rules, rules=rules[:at] + rules[at + 1 :]))


def answer(table: Table, case):
    found = answered_slate(table, case)
    return found.slate, found.propensities, found.sponsored


def test_every_kind_of_rule_binds_alone_and_among_others(golden):
    table = Table(golden.items)
    bound: dict[bool, set[str]] = {alone: set() for alone in (True, False)}
    for case in golden.slates:
        for at, rule in enumerate(case.rules.rules if case.rules else ()):
            if answer(table, without(case, at)) != answer(table, case):
                bound[len(case.rules.rules) == 1].add(NAMES[type(rule)])
    assert bound[True] == set(KINDS)
    drawn = {NAMES[kind] for kind in EXPLORING}
    chosen = {"dpp", "category_calibration", "band_calibration"}  # at most one of them in a list
    assert bound[False] >= set(KINDS) - drawn - chosen


def test_the_order_of_rules_and_the_policy_matter(golden):
    table = Table(golden.items)
    long = next(c for c in golden.slates if c.rules and len(c.rules.rules) > 6)
    orders = set()
    for one, two in itertools.combinations(range(6), 2):
        rules = list(long.rules.rules)
        rules[one], rules[two] = rules[two], rules[one]
        orders.add(answer(table, replace(long, rules=replace(long.rules, rules=tuple(rules)))))
    assert len(orders - {answer(table, long)}) >= 3
    policies = [case for case in golden.slates if case.policy]
    assert len({case.slate for case in policies}) == len(policies)


def test_no_slate_hangs_on_rounding(golden):
    """Vectors and numbers that are off by a few millionths give the same slates."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        table = Table(golden.items)
        table.vectors *= 1 + rng.normal(0, 2e-6, table.vectors.shape).astype(np.float32)
        for case in golden.slates:
            found = answered_slate(table, case)
            assert (found.slate, found.sponsored) == (case.slate, case.sponsored), case.name
            assert np.allclose(found.propensities, case.propensities)


def test_plain_loops_choose_the_same_slates(golden):
    table = Table(golden.items)
    seen = set()
    for case in golden.slates:
        if case.rules is None or len(case.rules.rules) != 1 or case.earlier:
            continue
        (rule,) = case.rules.rules
        order = sorted(range(len(case.rows)), key=lambda at: (-case.scores[at], case.rows[at]))
        rows = [case.rows[at] for at in order]
        scores = np.array([case.scores[at] for at in order])
        values = (scores - scores.min()) / max(np.ptp(scores), 1e-9)
        own = units(table.vectors[rows]).astype(np.float64).tolist()
        if isinstance(rule, NearDuplicates):
            titles = [golden_words(golden, table.titles[row]) for row in rows]
            kept = reference.distinct(own, rule.cosine, titles if rule.titles else ())
        elif isinstance(rule, Mmr | Dpp):
            choose = reference.mmr if isinstance(rule, Mmr) else reference.dpp
            kept = choose(values.tolist(), own, rule.relevance, 2 * case.k)
        else:
            continue
        seen.add(type(rule))
        assert [rows[at] for at in kept][: case.k] == list(case.slate), case.name
    assert seen == {NearDuplicates, Mmr, Dpp}


def golden_words(golden: GoldenRules, title: str) -> str:
    from pocketrec_edge.recommend.rules.titles import same_words

    return same_words(title)


def test_the_file_is_the_same_each_time_and_of_codes_that_exist(golden):
    assert golden == golden_rules()
    assert all(code <= MAX_VOCABULARY for item in golden.items for code in item.categories)
    names = [case.name for case in golden.slates]
    assert len(set(names)) == len(names)
