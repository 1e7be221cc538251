"""The bounds that FORMAT.md states are those that the reader has."""

import re
from dataclasses import replace
from typing import Any, get_args

import pytest

from pocketrec_bundle.declared.feature import (
    MAX_BUCKETS,
    MAX_EMBEDDING,
    MAX_FEATURES,
    MAX_LENGTH,
    MAX_NAMES,
    MAX_RANKER_LENGTH,
    Feature,
    Kind,
)
from pocketrec_bundle.declared.fitted import MAX_WORD
from pocketrec_bundle.encoding.bit_records import MAX_BITS
from pocketrec_bundle.encoding.sorted_ids import MAX_BLOCK, MAX_SHARED
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.features import (
    CONTEXT,
    MAX_VOCABULARY,
    NEIGHBOUR_PAIR,
    NUMERIC,
    PAIR,
    REPEAT_PAIR,
    FeatureSpec,
)
from pocketrec_bundle.items import catalogue
from pocketrec_bundle.items.audience import MAX_REGIONS, UNRATED
from pocketrec_bundle.items.cohorts import CODES_FILE, MAX_COHORT_ITEMS, MAX_COHORTS, ROWS_FILE
from pocketrec_bundle.settings.halts import MAX_HALTS
from pocketrec_bundle.settings.policy import Policy
from pocketrec_bundle.settings.rollout import (
    MAX_CLASSES,
    MAX_RAMP,
    MAX_STAGES,
    RolloutPolicy,
    Stage,
    SyncPolicy,
)
from pocketrec_bundle.settings.rules import (
    INTEGERS,
    KINDS,
    MAX_BOUNDS,
    MAX_DEPTH,
    MAX_RULES,
    NUMBERS,
)
from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle
from pocketrec_export.conformance.tiny_features import FEATURES

DECLARED = {"features.json", "golden_features.json", "objectives.json"}
NEW = {"rules.json", "campaigns.json", "regions.json", CODES_FILE, ROWS_FILE}
POLICY = Policy(slate=10, category_cap=4, near_duplicate_cosine=0.98, probes=0, candidates=200)


@pytest.fixture
def page(repository) -> str:
    return (repository / "bundle" / "FORMAT.md").read_text()


def rows(page: str, heading: str) -> dict[str, str]:
    """The value column of a section's table by key."""
    section = page.partition(f"### {heading}\n")[2].partition("\n#")[0]
    found: dict[str, str] = {}
    for keys, value in re.findall(r"^\| (`.+?`) \| (.+?) \|", section, re.MULTILINE):
        values = value.split(", ") if value.count("..") > 1 else [value] * 9
        found |= dict(zip(re.findall(r"`(\w+)`", keys), values, strict=False))
    return found


@pytest.mark.parametrize("heading", ["feature_spec.json", "policy.json"])
def test_stated_bounds_are_the_reader_s(page, spec, heading):
    sound = spec if heading == "feature_spec.json" else POLICY
    kind, value = type(sound), sound.to_json()
    stated = rows(page, heading)
    assert stated.keys() == value.keys()
    bounds = {
        key: tuple(map(int, found.groups()))
        for key, text in stated.items()
        if (found := re.fullmatch(r"(?:integer|number) (\d+)\.\.(\d+)", text))
    }
    assert len(bounds) >= 6
    for key, (low, high) in bounds.items():
        for inside in (low, high):
            kind.from_json(value | {key: inside})
        for outside in (low - 1, high + 1):
            with pytest.raises(BundleInvalidError, match=key):
                kind.from_json(value | {key: outside})


def test_stated_numbers_of_texts_are_the_reader_s(page, spec):
    value = spec.to_json() | {"neighbours": 1}
    known = {
        "context": list(CONTEXT),
        "pair": [*PAIR, *NEIGHBOUR_PAIR, *REPEAT_PAIR],
        "numeric": [*NUMERIC, *(f"n{i}" for i in range(62))],
    }
    for key, text in rows(page, "feature_spec.json").items():
        if not (found := re.fullmatch(r"(\d+)\.\.(\d+)(?: texts)?", text)):
            continue
        low, high = map(int, found.groups())
        names = known.pop(key, None) or [f"n{i}" for i in range(high + 1)]
        for n in (low, high):
            weights = {"head_weights": [1.0] * n} if key == "heads" else {}
            FeatureSpec.from_json(value | {key: names[:n]} | weights)
        more = [*names[:high], "one more"]
        for wrong in (names[: low - 1] if low else None, more):
            with pytest.raises(BundleInvalidError, match=key):
                FeatureSpec.from_json(value | {key: wrong})
    assert not known


def names(page: str, heading: str) -> set[str]:
    """The first column of a section's table, without what is made from a column's name."""
    section = page.partition(f"# {heading}\n")[2].partition("\n#")[0]
    cells = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([\w/.<>]+)`", cell)}


@pytest.mark.parametrize("version", [1, 2, 3])
def test_the_files_of_each_version_are_those_that_are_written(page, tmp_path, version):
    written = {file.name for file in write_tiny_bundle(tmp_path / "b", version).files}
    written = {re.sub(r"\.(codes|values)$", "", name) for name in written}
    written = {re.sub(r"(numeric|feature)\.\d", r"\1.<m>", name) for name in written}
    written = {re.sub(r"^(items/feature\.<m>)$", r"\1.values", name) for name in written}
    common = {name for name in names(page, "Files") if not name.startswith("models/")}
    stated = common | names(page, f"Items, version {min(version, 2)}")
    optional = {"model_card.md", "model_card.json"} | (NEW if version == 1 else set())
    if version < 3:
        optional |= DECLARED
    else:
        stated |= {name for name in names(page, "Item features") if name.startswith("items/")}
    assert written - optional == stated - optional


def test_the_item_files_of_versions_1_and_2_differ(page):
    both = names(page, "Items, version 1") & names(page, "Items, version 2")
    assert both <= {"index/scales", "items/categories"}


def test_stated_bounds_of_declared_features_are_the_reader_s(page):
    section = page.partition("\n### features.json\n")[2].partition("\n### ")[0]
    for stated in (
        f"a list of at most {MAX_FEATURES} features",
        f"a list of integers 0..{MAX_BITS}",
        f"texts of 1..{MAX_WORD} characters",
        f"integers 0..{MAX_VOCABULARY}, at most {MAX_VOCABULARY} together",
        f"integer 1..{MAX_NAMES} | codes of a row",
        f"integer 1..{MAX_LENGTH} of a vector",
        f"integer 1..{MAX_EMBEDDING} |",
        f"integer 1..{MAX_BUCKETS}; at most {MAX_BUCKETS + 1} rising numbers",
        f"together are at most {MAX_RANKER_LENGTH}",
    ):
        assert stated in section, stated
    keys = {
        key
        for line in re.findall(r"^\| (`.+?`) \|", section, re.MULTILINE)
        for key in re.findall(r"`(\w+)`", line)
    }
    written = FEATURES.to_json()
    assert keys == written.keys() | written["items"][0].keys()
    usual = Feature(kind="number")
    for option in ("vocabulary", "hash_buckets", "most", "length", "embedding", "buckets"):
        assert f"`{option}` {getattr(usual, option)}" in section
    kinds = re.findall(r"`(\w+)`", re.findall(r"\| `kind` \| (.+?) \|", section)[0])
    assert kinds == [kind for kind in get_args(Kind) if kind != "text"]  # never in a release


def test_stated_rules_and_bounds_of_their_settings_are_the_reader_s(page, spec):
    section = page.partition("### rules.json\n")[2].partition("\n###")[0]
    found = dict(re.findall(r"^\| (`.+?`) \| (.+?) \|", section, re.MULTILINE))
    stated = {key.strip("`"): re.findall(r"`(\w+)`", text) for key, text in found.items()}
    kinds = {name: [*kind.__dataclass_fields__] for name, kind in KINDS.items()}
    assert {name: stated[name] for name in kinds} == kinds
    does = page.partition("## Rules\n")[2].partition("\n#")[0]
    assert re.findall(r"^\| `(\w+)` \|", does, re.MULTILINE) == [*kinds]
    ranges = {
        key: re.match(r"(integer|number) ([\d.]+?)\.\.(\d+)", text)
        for keys, text in found.items()
        for key in re.findall(r"`(\w+)`", keys)
    }
    bounds = {
        key: (float(match[2]), float(match[3]))
        for key, match in ranges.items()
        if match is not None
    }
    assert bounds == NUMBERS | INTEGERS
    assert f"`depth` (integer 1..{MAX_DEPTH})" in section
    assert f"a list of at most {MAX_RULES}" in section
    assert stated["bounds"] == [] and f"1..{MAX_BOUNDS} numbers" in found["`bounds`"]


def test_stated_limits_of_ids_are_the_reader_s(page):
    assert f"shares at most {MAX_SHARED} letters" in page
    assert f"at most {MAX_BLOCK} ids" in page
    assert f"A writer's ids have 1..{catalogue.MAX_ID} characters" in page


def test_stated_limits_of_cohorts_are_the_reader_s(page):
    assert f"G <= {MAX_COHORTS}, m <= {MAX_COHORT_ITEMS}." in page
    assert f"at most {MAX_COHORTS} lists of at most {MAX_COHORT_ITEMS}" in page
    assert f"{MAX_COHORTS * MAX_COHORT_ITEMS * 4:,} bytes of rows" in page


def test_stated_numbers_of_regions_and_ages_are_the_reader_s(page):
    assert f"a list of 1..{MAX_REGIONS} short texts" in page
    assert f"minimum age in years, {UNRATED} = unrated" in page


def test_the_catalogue_s_table_is_the_writer_s(page):
    assert f"```sql\n{catalogue.TABLE}\n```" in page


def timed(key: str, seconds: int) -> SyncPolicy:
    changes: dict[str, Any] = {key: seconds}
    return replace(SyncPolicy(), **changes)


def test_the_rollout_policy_s_tables_and_limits_are_the_reader_s(page):
    section = page.partition("\n## Rollout policy\n")[2].partition("\n## ")[0]
    releases, _, sync = section.partition("`sync` is when")
    for text, kind in ((releases, Stage), (sync, SyncPolicy)):
        cells = "".join(re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE))
        assert set(re.findall(r"`(\w+)`", cells)) == kind.__dataclass_fields__.keys()
    assert f"a list of at most {MAX_STAGES}, the newest first" in section
    assert f"a list of at most {MAX_CLASSES} names" in section
    assert f"a list of at most {MAX_HALTS}" in section
    assert f"a list of at most {MAX_RAMP} pairs" in section
    bounds = re.findall(r"`(every_s|spread_s)` \| integer (\d+)\.\.(\d+)", sync)
    assert len(bounds) == len(("every_s", "spread_s"))
    for key, low, high in bounds:
        for inside in (int(low), int(high)):
            RolloutPolicy(channel="a", sync=timed(key, inside)).to_bytes()
        for outside in (int(low) - 1, int(high) + 1):
            with pytest.raises(BundleInvalidError, match=key):
                RolloutPolicy(channel="a", sync=timed(key, outside)).to_bytes()
