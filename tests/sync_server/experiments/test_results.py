"""Published results: what is stored, what is refused, and what the server no longer shows."""

import json
from dataclasses import asdict, replace

import pytest

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.experiment import Experiment
from pocketrec_bundle.settings.experiment_arms import Arm
from pocketrec_server.experiments.results import ArmResult, Results, read_results, store_results
from pocketrec_server.storage.database import writing
from pocketrec_server.storage.tables import SETTING

TREATMENT = ArmResult(arm="b", users=9, value=0.2, change=0.1, low=-0.1, high=0.3, z=1.0, bound=2.5)
RESULTS = Results(
    experiment="blend",
    salt="5a" * 16,
    metric="ctr",
    computed_utc=1_800_000_000,
    until_utc=1_799_999_000,
    days=5,
    planned_days=28,
    word="Keep running",
    sentence="b is up 10%.",
    tone="unsure",
    sample_ratio_p=0.4,
    arms=(ArmResult(arm="control", users=8, value=0.18), TREATMENT),
)
ONE = Experiment(
    id="blend",
    hypothesis="",
    salt="5a" * 16,
    layer="l",
    segment=(0.0, 1.0),
    state="running",
    from_utc=0,
    until_utc=9,
    arms=(Arm(name="control", share=0.5), Arm(name="b", share=0.5)),
)


def test_results_are_read_as_stored_and_replaced_by_later_ones(engine):
    assert read_results(engine, "stable", ONE) is None
    store_results(engine, "stable", RESULTS)
    assert read_results(engine, "stable", ONE) == RESULTS
    later = replace(RESULTS, days=6)
    store_results(engine, "stable", later)
    assert read_results(engine, "stable", ONE) == later
    assert read_results(engine, "beta", ONE) is None


def test_results_of_another_draw_are_not_shown(engine):
    store_results(engine, "stable", RESULTS)
    assert read_results(engine, "stable", replace(ONE, salt="00" * 16)) is None
    three = (*ONE.arms, Arm(name="c", share=0.0))
    assert read_results(engine, "stable", replace(ONE, arms=three)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"experiment": "No"},
        {"salt": "5a"},
        {"metric": "likes"},
        {"computed_utc": -1},
        {"days": 1.5},
        {"word": "x" * 201},
        {"sentence": "x" * 1001},
        {"tone": 'bad" onclick'},
        {"sample_ratio_p": 1.5},
        {"arms": RESULTS.arms[:1]},
        {"arms": (RESULTS.arms[0], replace(TREATMENT, arm="B"))},
        {"arms": (RESULTS.arms[0], replace(TREATMENT, users=-1))},
        {"arms": (RESULTS.arms[0], replace(TREATMENT, z=1e300))},
    ],
)
def test_what_no_report_says_is_refused(engine, changes):
    with pytest.raises(InputError, match="results cannot be published"):
        store_results(engine, "stable", replace(RESULTS, **changes))
    assert read_results(engine, "stable", ONE) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        json.dumps(asdict(RESULTS) | {"more": 1}),
        json.dumps(asdict(RESULTS) | {"metric": ["ctr"]}),
        json.dumps(asdict(RESULTS) | {"arms": [1, 2]}),
        json.dumps(asdict(RESULTS) | {"sentence": "x" * 20_000}),
    ],
)
def test_a_row_of_another_form_counts_as_none(engine, text):
    store_results(engine, "stable", RESULTS)
    with writing(engine) as connection:
        is_ours = SETTING.c.name.startswith("results ")
        connection.execute(SETTING.update().where(is_ours).values(value=text))
    assert read_results(engine, "stable", ONE) is None
