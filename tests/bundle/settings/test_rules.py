import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.settings.rules import KINDS, Rules
from pocketrec_export.conformance.tiny_bundle import RULES, SPEC, write_tiny_bundle

DATA = Path(__file__).parent.parent / "data"
SETTINGS = {
    "half_life_years": 5.0,
    "weight": 0.5,
    "relevance": 0.5,
    "cosine": 0.9,
    "titles": True,
    "column": "price",
    "bounds": [1.0, 2.0],
    "place": 1,
    "limit": 3,
    "epsilon": 0.1,
    "pool": 20,
    "first": 2,
    "alpha": 1.0,
    "beta": 20.0,
    "places": [2, 5],
    "per_day": 3,
}


def one_rule(kind: str, **changes: object) -> dict[str, Any]:
    names = KINDS[kind].__dataclass_fields__
    rule = {"kind": kind, **{name: SETTINGS[name] for name in names}, **changes}
    return {"version": 1, "depth": 10, "rules": [rule]}


@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_survives_json(kind):
    value = one_rule(kind)
    rules = Rules.from_json(value, SPEC)
    assert type(rules.rules[0]) is KINDS[kind]
    assert rules.to_json() == json.loads(canonical_json(rules.to_json())) == value


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        *(("mmr", {"relevance": value}) for value in (-0.1, 1.1, True, "1", None, float("nan"))),
        *(("category_cap", {"place": value}) for value in (-1, SPEC.max_categories, 0.0)),
        *(("category_cap", {"limit": value}) for value in (0, 1001, True)),
        *(("band_cap", {"bounds": value}) for value in ([], [2, 1], [1, 1], [True], 3, [0] * 33)),
        *(("band_cap", {"column": value}) for value in ("seller", "", None, ["price"])),
        ("near_duplicates", {"titles": 1}),
        *(("sponsored", {"places": value}) for value in ([], [0], [2, 1], [1.0], 3, [1001])),
        ("sponsored", {"places": list(range(1, 34))}),
        ("sponsored", {"per_day": 0}),
        ("category_thompson", {"alpha": 0.4}),
        ("band_thompson", {"beta": 1001}),
        ("freshness", {"half_life_years": 0}),
        ("exploration", {"epsilon": 2}),
        ("dpp", {"theta": 0.5}),
    ],
)
def test_a_setting_that_does_not_belong_is_refused(kind, change):
    with pytest.raises(BundleInvalidError, match=r"rules\.json: rule 1"):
        Rules.from_json(one_rule(kind, **change), SPEC)


@pytest.mark.parametrize(
    "change",
    [
        *({"depth": value} for value in (0, 1001, 1.0, None)),
        *({"version": value} for value in (0, 2, True)),
        {"rules": None},
        {"rules": {}},
        {"rules": [1]},
        {"rules": [{}]},
        {"rules": [{"kind": "sort"}]},
        {"rules": [{"kind": []}]},
        {"rules": [{"kind": "quality_floor"}]},
        {"rules": [{"kind": "quality_floor", "relevance": 0.1}] * 33},
        {"rules": [{"kind": "mmr", "relevance": 0.5}, {"kind": "dpp", "relevance": 0.5}]},
        {"rules": [*one_rule("exploration")["rules"], *one_rule("mmr")["rules"]]},
        {"rules": [*one_rule("exploration")["rules"], *one_rule("category_thompson")["rules"]]},
        {"rules": [*one_rule("sponsored")["rules"], *one_rule("mmr")["rules"]]},
        {"rules": [*one_rule("sponsored")["rules"]] * 2},
        {"more": 1},
    ],
)
def test_rules_of_another_form_or_that_do_not_go_together_are_refused(change):
    with pytest.raises(BundleInvalidError, match=r"rules\.json"):
        Rules.from_json(one_rule("mmr") | change, SPEC)


def test_a_release_of_version_2_has_its_rules(tmp_path):
    write_tiny_bundle(tmp_path / "b")
    assert open_bundle(tmp_path / "b").rules == RULES


@pytest.mark.parametrize("kept", ["v1", "v2"])
def test_a_release_from_before_has_none(kept):
    assert open_bundle(DATA / kept).rules is None


def test_a_release_of_version_1_passes_the_file_over(tmp_path, resign):
    folder = Path(shutil.copytree(DATA / "v1", tmp_path / "v1"))
    resign(folder, {"rules.json": canonical_json(RULES.to_json())})
    assert open_bundle(folder).rules is None


def test_bad_rules_refuse_the_release(tmp_path, resign):
    write_tiny_bundle(tmp_path / "b")
    resign(tmp_path / "b", {"rules.json": b'{"version":1,"depth":0,"rules":[]}'})
    with pytest.raises(BundleInvalidError, match=r"rules\.json: depth"):
        open_bundle(tmp_path / "b")
