"""Faults of the JSON files that a release serves by."""

from collections.abc import Callable
from typing import Any

from pocketrec_bundle.encoding.strict_json import MAX_JSON_BYTES
from pocketrec_bundle.settings.campaigns import MAX_CAMPAIGNS
from pocketrec_bundle.settings.rules import MAX_RULES
from pocketrec_export.conformance.defects.defect import Defect, dropping, parsed, setting, signed

SPEC, POLICY, RULES = "feature_spec.json", "policy.json", "rules.json"
CAMPAIGNS, REGIONS = "campaigns.json", "regions.json"
MMR = {"kind": "mmr", "relevance": 0.5}


def _of(file: str, name: str, code: str, fault: str, change: Callable[[Any], Any]) -> Defect:
    return Defect(name=name, code=code, fault=f"{file}: {fault}", make=parsed(file, change))


def _last_first(value: Any) -> None:
    value["rules"].insert(0, value["rules"].pop())


def _paid_first(value: Any) -> None:
    value["rules"].insert(0, value["rules"].pop(-2))


DEFECTS = (
    Defect(
        name="json-too-large",
        code="json_size",
        fault=f"{POLICY} has more than {MAX_JSON_BYTES} bytes",
        make=signed(POLICY, lambda data: data + b" " * MAX_JSON_BYTES),
    ),
    Defect(
        name="json-key-twice",
        code="json_malformed",
        fault=f"{POLICY}: a key stands twice",
        make=signed(POLICY, lambda data: b'{"slate":9,' + data[1:]),
    ),
    _of(SPEC, "spec-too-new", "too_new", "version 2", setting("version", to=2)),
    _of(
        SPEC,
        "spec-new-feature",
        "too_new",
        "a feature that the reader does not know",
        setting("context", 0, to="moon_phase"),
    ),
    _of(SPEC, "spec-key-missing", "spec_keys", "no key dim", dropping("dim")),
    _of(SPEC, "spec-dim-0", "spec_value", "dim is 0", setting("dim", to=0)),
    _of(SPEC, "spec-decay", "spec_value", "neighbour_decay is 2", setting("neighbour_decay", to=2)),
    _of(SPEC, "spec-no-events", "spec_value", "no event types", setting("event_types", to=[])),
    _of(
        SPEC,
        "spec-name-twice",
        "spec_value",
        "an event type stands twice",
        setting("event_types", to=["like", "like"]),
    ),
    _of(
        SPEC,
        "spec-weights-few",
        "spec_value",
        "fewer head weights than heads",
        setting("head_weights", to=[1.0]),
    ),
    _of(
        SPEC,
        "spec-weight-huge",
        "spec_value",
        "a head weight of 2e15",
        setting("head_weights", 0, to=2e15),
    ),
    _of(
        SPEC, "spec-no-price", "spec_value", "numeric lacks price", setting("numeric", 2, to="cost")
    ),
    _of(POLICY, "policy-too-new", "too_new", "version 2", setting("version", to=2)),
    _of(POLICY, "policy-version-0", "policy_value", "version 0", setting("version", to=0)),
    _of(
        POLICY,
        "policy-key-unknown",
        "policy_keys",
        "a key that no version has",
        setting("more", to=1),
    ),
    _of(POLICY, "policy-slate-0", "policy_value", "slate is 0", setting("slate", to=0)),
    _of(POLICY, "policy-slate-fraction", "policy_value", "slate is 5.0", setting("slate", to=5.0)),
    _of(
        POLICY,
        "policy-cosine",
        "policy_value",
        "near_duplicate_cosine is a text",
        setting("near_duplicate_cosine", to="1"),
    ),
    _of(POLICY, "policy-repeats", "policy_value", "repeats is 1", setting("repeats", to=1)),
    _of(RULES, "rules-too-new", "too_new", "version 2", setting("version", to=2)),
    _of(
        RULES,
        "rules-new-kind",
        "too_new",
        "a kind of rule that the reader does not know",
        setting("rules", 0, to={"kind": "by_moon"}),
    ),
    _of(RULES, "rules-key-missing", "rules_keys", "no key depth", dropping("depth")),
    _of(RULES, "rules-version-true", "rules_value", "version is true", setting("version", to=True)),
    _of(RULES, "rules-depth-0", "rules_value", "depth is 0", setting("depth", to=0)),
    _of(
        RULES,
        "rules-many",
        "rules_value",
        f"more than {MAX_RULES} rules",
        setting("rules", to=[MMR] * (MAX_RULES + 1)),
    ),
    _of(
        RULES, "rules-no-kind", "rules_keys", "a rule without a kind", dropping("rules", 0, "kind")
    ),
    _of(
        RULES,
        "rules-setting-missing",
        "rules_keys",
        "a rule lacks a setting",
        dropping("rules", 0, "weight"),
    ),
    _of(
        RULES,
        "rules-setting-wrong",
        "rules_value",
        "a weight of 2",
        setting("rules", 0, "weight", to=2),
    ),
    _of(
        RULES,
        "rules-column-unknown",
        "rules_value",
        "a column that the spec lacks",
        setting("rules", 3, "column", to="cost"),
    ),
    _of(
        RULES,
        "rules-bounds-fall",
        "rules_value",
        "bounds that fall",
        setting("rules", 3, "bounds", to=[5, 2]),
    ),
    _of(
        RULES,
        "rules-two-choose",
        "rules_order",
        "two rules that choose item by item",
        setting("rules", 0, to=MMR),
    ),
    _of(
        RULES, "rules-draw-first", "rules_order", "the rule that draws is not the last", _last_first
    ),
    _of(
        RULES,
        "rules-sponsored-first",
        "rules_order",
        "sponsored is not after the others",
        _paid_first,
    ),
    _of(CAMPAIGNS, "campaigns-too-new", "too_new", "version 2", setting("version", to=2)),
    _of(
        CAMPAIGNS,
        "campaigns-key-missing",
        "campaigns_keys",
        "no key campaigns",
        dropping("campaigns"),
    ),
    _of(CAMPAIGNS, "campaigns-version-0", "campaigns_value", "version 0", setting("version", to=0)),
    _of(
        CAMPAIGNS,
        "campaigns-many",
        "campaigns_value",
        f"more than {MAX_CAMPAIGNS} campaigns",
        setting("campaigns", to=[{}] * (MAX_CAMPAIGNS + 1)),
    ),
    _of(
        CAMPAIGNS,
        "campaigns-entry-key",
        "campaigns_keys",
        "a campaign without a label",
        dropping("campaigns", 0, "label"),
    ),
    _of(
        CAMPAIGNS,
        "campaigns-blank",
        "campaigns_value",
        "a blank label",
        setting("campaigns", 0, "label", to=" "),
    ),
    _of(
        CAMPAIGNS,
        "campaigns-priority",
        "campaigns_value",
        "a priority of -1",
        setting("campaigns", 0, "priority", to=-1),
    ),
    _of(
        CAMPAIGNS,
        "campaigns-end",
        "campaigns_value",
        "a campaign that ends when it begins",
        setting("campaigns", 0, "until_utc", to=1_699_999_000),
    ),
    _of(
        CAMPAIGNS,
        "campaigns-twice",
        "campaigns_value",
        "an id stands twice",
        setting("campaigns", 1, "id", to="campaign-0"),
    ),
    _of(REGIONS, "regions-too-new", "too_new", "version 2", setting("version", to=2)),
    _of(REGIONS, "regions-key-missing", "regions_keys", "no key names", dropping("names")),
    _of(REGIONS, "regions-version-0", "regions_value", "version 0", setting("version", to=0)),
    _of(REGIONS, "regions-none", "regions_value", "no names", setting("names", to=[])),
    _of(
        REGIONS,
        "regions-name-twice",
        "regions_value",
        "a name stands twice",
        setting("names", 0, to="r01"),
    ),
    _of(
        REGIONS,
        "regions-bit-beyond",
        "region_bits",
        "a name less, so that a bit has none",
        dropping("names", 39),
    ),
)
