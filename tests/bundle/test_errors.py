"""What a newer app could read is told apart from what no app can."""

import ast
import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.arrays import encode_array
from pocketrec_bundle.errors import TOO_NEW, BundleInvalidError, BundleTooNewError
from pocketrec_bundle.golden.vectors import Golden
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.settings.campaigns import Campaigns
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_bundle.settings.halts import Halts
from pocketrec_bundle.settings.rollout import RolloutPolicy
from pocketrec_bundle.settings.rules import Rules
from pocketrec_edge.errors import SelfTestFailedError

ROOT = Path(__file__).parents[2]

RULE = {"kind": "quality_floor", "relevance": 0.1}


def newer_array() -> bytes:
    data = bytearray(encode_array(np.zeros(2, np.int32)))
    data[4:6] = struct.pack("<H", 2)
    return bytes(data)


NEWER = {
    "feature_spec.json": lambda v: v | {"version": 2, "a_new_key": 1},
    "feature_spec.json: a feature": lambda v: v | {"context": [*v["context"][:-1], "moon_phase"]},
    "policy.json": lambda v: v | {"version": 2, "a_new_key": 1},
    "rules.json": lambda _: {"version": 2, "rules": {}},
    "rules.json: a kind": lambda _: {"version": 1, "depth": 9, "rules": [{"kind": "by_moon"}]},
    "campaigns.json": lambda _: {"version": 2},
    "regions.json": lambda _: {"version": 2},
    "golden.json": lambda v: v | {"version": 2},
}


@pytest.mark.parametrize("part", NEWER)
def test_a_part_of_a_later_version_is_too_new_whatever_its_keys_are(make_bundle, resign, part):
    folder, name = make_bundle(), part.partition(":")[0]
    opened = open_bundle(folder)
    value = opened.json(name) if opened.lists(name) else None
    resign(folder, {name: canonical_json(NEWER[part](value))})
    with pytest.raises(BundleTooNewError, match=r"(?s)" + name + r".*[Uu]pdate the app") as caught:
        Golden.of(open_bundle(folder))
    assert caught.value.code == TOO_NEW == "too_new"


def test_a_manifest_or_array_of_a_later_version_is_too_new(make_bundle, resign, edit_manifest):
    folder = make_bundle()
    resign(folder, {"items/popular": newer_array()})
    with pytest.raises(BundleTooNewError):
        open_bundle(folder)
    edit_manifest(folder, lambda manifest: manifest.update(format_version=4, files={}))
    with pytest.raises(BundleTooNewError, match="Update the app"):
        open_bundle(folder)


@pytest.mark.parametrize(
    "read", [RolloutPolicy.from_bytes, Halts.from_bytes, Experiments.from_bytes]
)
def test_a_policy_halts_or_experiments_of_a_later_format_are_too_new(read):
    with pytest.raises(BundleTooNewError):
        read(json.dumps({"format": 9, "stages": []}).encode())
    for other in (0, True, "2", None, 1.5):
        with pytest.raises(BundleInvalidError) as caught:
            read(json.dumps({"format": other}).encode())
        assert caught.value.code != TOO_NEW


@pytest.mark.parametrize("other", [0, -1, True, "2", None, 2.0])
def test_a_version_that_no_app_will_read_is_a_fault_of_the_release(spec, other):
    reads = (
        lambda: Rules.from_json({"version": other, "depth": 9, "rules": [RULE]}, spec),
        lambda: Campaigns.from_json({"version": other, "campaigns": []}),
        lambda: type(spec).from_json(spec.to_json() | {"version": other}),
    )
    for read in reads:
        with pytest.raises(BundleInvalidError) as caught:
            read()
        assert caught.value.code != TOO_NEW


def raised() -> dict[str, list[str]]:
    """Codes of each `BundleInvalidError(...)` in the rooms that read a release, by place.

    A `Form` raises for its owner, with the code that it was made with.
    """
    found: dict[str, list[str]] = {}
    for room in ("bundle", "edge_runtime"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
                if isinstance(node, ast.Call) and name in {"BundleInvalidError", "Form"}:
                    codes = [k.value for k in node.keywords if k.arg == "code"]
                    if [ast.unparse(code) for code in codes] == ["self.code"]:
                        assert path.name == "form.py"
                        continue
                    place = f"{path.name}:{node.lineno}"
                    found[place] = [
                        c.value
                        for c in codes
                        if isinstance(c, ast.Constant) and isinstance(c.value, str)
                    ]
    return found


def test_every_refusal_has_a_code_and_the_page_lists_all_of_them():
    places = raised()
    assert len(places) > 100
    assert [place for place, codes in places.items() if len(codes) != 1] == []
    page = (ROOT / "bundle" / "FORMAT.md").read_text()
    section = page.partition("\n## Error codes\n")[2].partition("\n## ")[0]
    stated = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert len(stated) == len(set(stated))
    used = {code for codes in places.values() for code in codes}
    assert used | {TOO_NEW, SelfTestFailedError.code} == set(stated)
