"""Defects of golden files and models, which the reader's self-test must find."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pocketrec_bundle.golden.vectors import MAX_CASES
from pocketrec_export.conformance.defects.defect import (
    SELF_TEST,
    Defect,
    dropping,
    edited,
    parsed,
    setting,
    signed,
    without,
)
from pocketrec_export.conformance.sound import Base, Mutant

GOLDEN, EDGES, RULES = "golden.json", "golden_edges.json", "golden_rules.json"
LAST = ("cases", 2)
TOWER, RANKER = "models/user_tower.onnx.fp32", "models/ranker.onnx.fp32"


def _of(
    name: str, code: str, fault: str, make: Callable[[Base], Mutant], golden: bool = False
) -> Defect:
    return Defect(name=name, code=code, fault=fault, make=make, step=SELF_TEST, golden=golden)


def _golden(name: str, code: str, fault: str, change: Callable[[Any], Any]) -> Defect:
    return _of(name, code, f"{GOLDEN}: {fault}", parsed(GOLDEN, change))


def _edges(name: str, code: str, fault: str, change: Callable[[Any], Any]) -> Defect:
    return _of(name, code, f"{EDGES}: {fault}", parsed(EDGES, change), golden=True)


def _rules(name: str, code: str, fault: str, change: Callable[[Any], Any]) -> Defect:
    return _of(name, code, f"{RULES}: {fault}", parsed(RULES, change), golden=True)


def _swapped(value: Any) -> None:
    for key in ("slate_ids", "slate_scores"):
        value["cases"][2][key].reverse()


def _turned(path: str, key: str) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        value[path][0][key].reverse()

    return change


DEFECTS = (
    _of("golden-missing", "file_unlisted", "golden.json is missing", without(GOLDEN)),
    _golden("golden-too-new", "too_new", "version 2", setting("version", to=2)),
    _golden(
        "golden-key-missing", "golden_keys", "no key score_tolerance", dropping("score_tolerance")
    ),
    _golden("golden-version-0", "golden_value", "version 0", setting("version", to=0)),
    _golden(
        "golden-tolerance",
        "golden_value",
        "a tolerance below 0",
        setting("vector_tolerance", to=-1),
    ),
    _golden(
        "golden-many",
        "golden_value",
        f"more than {MAX_CASES} cases",
        setting("cases", to=[{}] * (MAX_CASES + 1)),
    ),
    _golden("golden-case-key", "golden_keys", "a case without a name", dropping(*LAST, "name")),
    _golden(
        "golden-case-time", "golden_value", "now_utc is a text", setting(*LAST, "now_utc", to="now")
    ),
    _golden(
        "golden-case-text",
        "golden_value",
        "an item id that is a number",
        setting(*LAST, "item_ids", 0, to=7),
    ),
    _golden(
        "golden-history-lengths",
        "golden_value",
        "fewer events than items",
        dropping(*LAST, "events", 0),
    ),
    _golden(
        "golden-slate-lengths",
        "golden_value",
        "fewer scores than items",
        dropping(*LAST, "slate_scores", 0),
    ),
    _golden("golden-times-fall", "golden_value", "decreasing times", setting(*LAST, "ts", 6, to=0)),
    _golden(
        "golden-vector-short",
        "golden_release",
        "a user vector of d - 1 numbers",
        dropping(*LAST, "user_vector", 0),
    ),
    _golden(
        "golden-event-unknown",
        "golden_release",
        "an unknown event type",
        setting(*LAST, "events", 0, to=9),
    ),
    _golden(
        "golden-candidate-beyond",
        "golden_release",
        "a candidate row outside the catalogue",
        setting(*LAST, "candidates", 0, to=48),
    ),
    _golden(
        "golden-vector-other",
        "self_test_failed",
        "a user vector that differs from the tower's",
        setting(*LAST, "user_vector", 0, to=9.5),
    ),
    _golden("golden-slate-other", "self_test_failed", "a slate in another order", _swapped),
    _of(
        "golden-stage-missing",
        "file_unlisted",
        "golden/context is missing, other stages are present",
        without("golden/context"),
    ),
    _of(
        "golden-stage-form",
        "golden_array",
        "golden/context lacks a column",
        edited("golden/context", lambda a: a[:, 1:]),
    ),
    _of(
        "golden-stage-row",
        "golden_array",
        "golden/slate has row 48 of a catalogue of 48",
        edited("golden/slate", lambda a: a.__setitem__((0, 0), 48)),
    ),
    _edges("edges-too-new", "too_new", "version 2", setting("version", to=2)),
    _edges("edges-key-missing", "golden_keys", "no key unmade", dropping("unmade")),
    _edges(
        "edges-value",
        "golden_value",
        "a candidate that is a text",
        setting("histories", 0, "rows", 0, to="0"),
    ),
    _edges(
        "edges-history-lengths",
        "golden_value",
        "fewer events than items",
        setting("histories", 0, "events", to=[0]),
    ),
    _edges(
        "edges-times-fall",
        "golden_value",
        "decreasing times",
        lambda v: v["histories"][0].update(item_ids=["a", "b"], events=[0, 0], ts=[2, 1]),
    ),
    _edges(
        "edges-pair-lengths",
        "golden_value",
        "more rows of pair features than candidates",
        dropping("histories", 0, "rows", 0),
    ),
    _edges(
        "edges-search-lengths",
        "golden_value",
        "fewer scores than candidates",
        dropping("searches", 0, "scores", 0),
    ),
    _edges(
        "edges-no-item-at-hand",
        "golden_value",
        "a list of similar items without an item",
        setting("searches", 0, "scene", to="similar"),
    ),
    _edges(
        "edges-event-unknown",
        "golden_release",
        "an unknown event type",
        lambda v: v["histories"][0].update(item_ids=["a"], events=[9], ts=[0]),
    ),
    _edges(
        "edges-row-beyond",
        "golden_release",
        "a candidate row outside the catalogue",
        setting("searches", 0, "candidates", 0, to=48),
    ),
    _edges(
        "edges-context-short",
        "golden_release",
        "a context feature is missing",
        dropping("histories", 0, "context", 0),
    ),
    _edges(
        "edges-pair-short",
        "golden_release",
        "a pair feature is missing",
        dropping("histories", 0, "pair", 0, 0),
    ),
    _edges(
        "edges-history-long",
        "golden_release",
        "more expected events than L",
        lambda v: v["histories"][0].update(
            history_rows=[0] * 7, history_events=[1] * 7, history_ages_s=[0.0] * 7
        ),
    ),
    _edges(
        "edges-hour-other",
        "self_test_failed",
        "an hour that differs from that of now_utc",
        setting("histories", 0, "context", 0, to=25),
    ),
    _edges(
        "edges-candidates-other",
        "self_test_failed",
        "ties in another order",
        _turned("searches", "candidates"),
    ),
    _rules("rules-cases-too-new", "too_new", "version 2", setting("version", to=2)),
    _rules("rules-cases-key-missing", "golden_keys", "no key titles", dropping("titles")),
    _rules(
        "rules-cases-both",
        "golden_value",
        "neither rules nor a policy",
        setting("slates", 0, "rules", to=None),
    ),
    _rules(
        "rules-cases-lengths",
        "golden_value",
        "fewer scores than candidates",
        dropping("slates", 0, "scores", 0),
    ),
    _rules(
        "rules-cases-row-beyond",
        "golden_value",
        "a candidate row outside the catalogue",
        setting("slates", 0, "rows", 0, to=199),
    ),
    _rules(
        "rules-cases-setting",
        "rules_value",
        "a case whose depth is 0",
        setting("slates", 0, "rules", "depth", to=0),
    ),
    _rules(
        "rules-cases-slate-other",
        "self_test_failed",
        "a slate in another order",
        _turned("slates", "slate"),
    ),
    _rules(
        "rules-cases-title-other",
        "self_test_failed",
        "a title whose words differ",
        setting("titles", 0, "words", to="the matrix"),
    ),
    _of(
        "model-no-model",
        "self_test_failed",
        "the user tower's file is text",
        signed(TOWER, lambda _: b"no model"),
    ),
    _of(
        "model-cut",
        "self_test_failed",
        "the ranker's file is cut short",
        signed(RANKER, lambda data: data[: len(data) // 2]),
    ),
    _of("model-missing", "self_test_failed", "the release has no user tower", without(TOWER)),
    _of(
        "model-swapped",
        "self_test_failed",
        "the ranker's file is a user tower",
        lambda base: base.signed({RANKER: base.files[TOWER]}),
    ),
    _of(
        "model-other-items",
        "self_test_failed",
        "the item vectors differ from those at export",
        edited("index/rows", lambda a: np.roll(a, 1, axis=0)),
    ),
)
