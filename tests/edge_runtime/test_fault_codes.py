"""The codes of faults are one list: in the code, in the documentation, and in what is returned."""

import json
import re
from typing import Any

import pytest

from pocketrec_edge.answers import Answer, RuleEffect, SlateItem, Sponsorship
from pocketrec_edge.device import Device
from pocketrec_edge.faults import Fault, FaultCode, add, joined

ROW = re.compile(r"^\| `(\w+)` \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)


def test_the_documentation_lists_every_code_and_no_other(repository):
    rows = ROW.findall((repository / "docs/device/fault-codes.md").read_text())
    assert [code for code, *_ in rows] == [code.value for code in FaultCode]
    assert all(len(text) > 3 for row in rows for text in row)


def test_every_code_is_given_somewhere_and_every_fault_has_one(repository):
    room = repository / "edge_runtime" / "pocketrec_edge"
    texts = {p: p.read_text() for p in room.rglob("*.py") if p.name != "faults.py"}
    named = {name for text in texts.values() for name in re.findall(r"FaultCode\.(\w+)", text)}
    assert named == {code.name for code in FaultCode}
    for path, text in texts.items():
        for made in re.findall(r"\bFault\(\s*(\w[\w.]*)", text):
            assert made.startswith("FaultCode.") or made == "code", path


def test_a_code_compares_with_its_text_and_goes_into_json():
    fault = Fault(FaultCode.DEADLINE, "too late")
    assert (fault.code == "deadline", str(fault), json.dumps(fault.code)) == (
        True,
        "too late",
        '"deadline"',
    )


def test_faults_are_joined_and_none_comes_twice():
    faults = [Fault(FaultCode.NO_RELEASE, "a")]
    add(faults, Fault(FaultCode.STORE_DAMAGED, "a"))
    add(faults, Fault(FaultCode.STORE_DAMAGED, "b"))
    assert joined(faults) == "a; b"
    assert joined([]) == ""


def test_json_of_an_answer_has_texts_and_codes(tmp_path):
    answer = Device(tmp_path).recommend()
    assert answer.faults == (Fault(FaultCode.NO_RELEASE, "no release is installed"),)
    told = json.loads(json.dumps(answer.plain()))
    assert (told["faults"], told["fault_codes"]) == (["no release is installed"], ["no_release"])


def test_an_item_comes_back_from_its_json_as_it_was():
    item = SlateItem(
        row=3,
        item_id="i",
        title="I",
        score=0.5,
        retrieval_score=0.25,
        reason="because",
        probabilities={"like": 0.5},
        propensity=0.75,
        touched=(RuleEffect(rule="mmr", how="moved", before=2, after=1),),
        sponsored=Sponsorship(campaign="c", label="Ad"),
    )
    assert SlateItem.of(json.loads(json.dumps(item.plain())) | {"of a later version": 1}) == item


@pytest.mark.parametrize(
    ("key", "value"),
    [("item_id", 5), ("row", "x"), ("touched", [{}]), ("sponsored", 1), ("probabilities", 3)],
)
def test_a_damaged_item_is_no_item(key, value):
    plain = SlateItem(
        row=0, item_id="i", title="I", score=1.0, retrieval_score=0.0, reason="r"
    ).plain()
    with pytest.raises((KeyError, TypeError, ValueError)):
        SlateItem.of(plain | {key: value})


def test_answers_are_frozen(tmp_path):
    answer: Any = Device(tmp_path).recommend()  # what a type checker refuses too
    with pytest.raises(AttributeError):
        answer.items = ()
    kind: Any = Answer
    with pytest.raises(TypeError):
        kind((), "none", (), "")
