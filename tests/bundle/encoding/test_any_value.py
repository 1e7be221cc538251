"""Whatever stands in a release's files: each parser gives its object, or `BundleInvalidError`."""

import copy
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketrec_bundle.encoding.arrays import parse_header
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.golden.vectors import Golden, GoldenCase
from pocketrec_bundle.manifest import FileEntry, Manifest, manifest_bytes, parse_manifest
from pocketrec_bundle.settings.experiment import SHIPPED, Experiment
from pocketrec_bundle.settings.experiment_arms import Arm, Guardrail
from pocketrec_bundle.settings.experiments import Experiments, Holdout
from pocketrec_bundle.settings.policy import Policy
from pocketrec_bundle.settings.rollout import FailureLimit, RolloutPolicy, Stage

SPEC = FeatureSpec(
    dim=4,
    max_history=3,
    event_types=("rating", "like"),
    categories=("drama", "war"),
    max_categories=2,
    heads=("engage", "like"),
    head_weights=(1.0, 0.5),
    candidates=4,
)
POLICY = Policy(slate=10, category_cap=4, near_duplicate_cosine=0.98, probes=0, candidates=200)
CASE = GoldenCase(
    name="one",
    now_utc=5,
    item_ids=("a", "b"),
    events=(1, 0),
    ts=(4, 4),
    user_vector=(0.5,),
    candidates=(3,),
    slate_ids=("b",),
    slate_scores=(0.25,),
)
GOLDEN = Golden(cases=(CASE, CASE), vector_tolerance=0.1, score_tolerance=0.2)
FILE = FileEntry(name="a/b", sha256="0" * 64, bytes=1, kind="model", meta={"default": 1})
MANIFEST = Manifest(name="n", recipe_name="r", created_utc=1, files=(FILE,))
EXPERIMENTS = Experiments(
    channel="stable",
    holdout=Holdout(salt="f" * 32, share=0.1),
    experiments=(
        Experiment(
            id="blend",
            hypothesis="more",
            salt="0" * 32,
            layer="ranking",
            segment=(0.0, 0.5),
            state=SHIPPED,
            from_utc=1,
            until_utc=9,
            ramp=((2, 100.0),),
            arms=(
                Arm(name="control", share=0.5, flags={"big": True}),
                Arm(
                    name="other",
                    share=0.5,
                    release="ab" * 32,
                    rules={"version": 1, "depth": 9, "rules": []},
                    head_weights={"like": 2.0},
                ),
            ),
            guardrails=(Guardrail(metric="ctr", worse_by=0.1, alpha=0.05),),
            winner="other",
        ),
    ),
)
ROLLOUT = RolloutPolicy(
    channel="stable",
    releases=(
        Stage(manifest="0" * 64, name="new", percent=5, most_failures=FailureLimit(of=1, share=0)),
        Stage(manifest="1" * 64, name="old", percent=100, device_classes=("phone",)),
    ),
)

TEXTS = st.text(st.characters(exclude_categories=()), max_size=5)  # lone surrogates too
EXTREMES = st.sampled_from(
    [2**31, 2**63, 2**64, 10**400, -1, 1e308, "x" * 300, "../x", [0] * 2000]
).map(copy.deepcopy)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | EXTREMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


def places(value):
    """All (container, key) of parsed JSON."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


@st.composite
def spoilt(draw, sound):
    """A sound value with one or two parts replaced, removed or added; or another value."""
    value = copy.deepcopy(sound)
    for _ in range(draw(st.integers(0, 2))):
        container, key = draw(st.sampled_from(list(places(value)) or [([0], 0)]))
        how = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if how == "replace":
            container[key] = draw(VALUES)
        elif how == "remove":
            del container[key]
        elif isinstance(container, dict):
            container[draw(TEXTS)] = draw(VALUES)
        else:
            container.append(draw(VALUES))
    return value


@pytest.mark.parametrize(
    "sound", [SPEC, POLICY, GOLDEN, ROLLOUT, EXPERIMENTS], ids=lambda s: type(s).__name__
)
def test_any_json_value_is_an_object_that_survives_json_or_is_refused(sound):
    kind = type(sound)
    assert kind.from_json(sound.to_json()) == sound

    @given(spoilt(sound.to_json()) | VALUES)
    def check(value):
        try:
            found = kind.from_json(value)
        except BundleInvalidError as err:
            assert 0 < len(str(err)) < 1000
            return
        assert kind.from_json(json.loads(json.dumps(found.to_json()))) == found

    check()


@given(spoilt(json.loads(manifest_bytes(MANIFEST))) | VALUES)
def test_any_json_value_is_a_manifest_that_survives_writing_or_is_refused(value):
    try:
        found = parse_manifest(json.dumps(value).encode())
    except BundleInvalidError as err:
        assert 0 < len(str(err)) < 1000
        return
    assert parse_manifest(manifest_bytes(found)) == found


SIZES = st.sampled_from([0, 1, 2, 3, 1 << 31, 1 << 32, 1 << 62, 1 << 63, (1 << 64) - 1])


@given(
    st.sampled_from([b"u1", b"i4", b"f2", b"f8", b"O8", b"\xff\xff"]),
    st.integers(0, 5),
    st.lists(SIZES, min_size=4, max_size=4),
    st.none() | SIZES,
    st.none() | SIZES,
)
def test_a_header_that_passes_describes_an_array_that_numpy_can_make(code, dims, sizes, says, has):
    payload = np.prod(np.array(sizes, object)) * int(code[1:]) if code[1:].isdigit() else 0
    says = min(payload, (1 << 64) - 1) if says is None else says
    has = 64 + says if has is None else has
    head = struct.pack("<4sH2sII4QQQ", b"PRAR", 1, code, dims, 0, *sizes, says, 0)
    try:
        dtype, shape = parse_header("x", head, has, 1 << 20)
    except BundleInvalidError:
        return
    assert np.zeros(shape, dtype).nbytes == has - 64 <= 1 << 20


@given(st.binary(max_size=80))
def test_any_bytes_are_no_header(head):
    with pytest.raises(BundleInvalidError):
        parse_header("x", head, len(head), 1 << 20)
