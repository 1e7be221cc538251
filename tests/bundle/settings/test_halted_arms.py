"""Halted arms: what is read, and what is refused."""

import json
from dataclasses import replace

import pytest

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.errors import BundleInvalidError, BundleTooNewError
from pocketrec_bundle.settings.halted_arms import MAX_HALTED, HaltedArm, HaltedArms

ONE = HaltedArm(experiment="blend", salt="0a" * 16, arm="variety", reason="slow", since_utc=7)


def test_halted_arms_are_read_as_they_were_written():
    two = replace(ONE, arm="other", reason="")
    assert HaltedArms.from_bytes(HaltedArms(halted=(ONE, two)).to_bytes()).halted == (ONE, two)
    assert HaltedArms.from_bytes(HaltedArms().to_bytes()) == HaltedArms()


def test_a_later_format_asks_for_a_newer_app():
    with pytest.raises(BundleTooNewError):
        HaltedArms.from_bytes(b'{"format": 2, "anything": []}')


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"experiment": "Blend"}, "experiment must be"),
        ({"salt": "0a"}, "salt must be"),
        ({"arm": ""}, "arm must be"),
        ({"arm": None}, "arm must be"),
        ({"reason": "x" * 201}, "reason must be"),
        ({"since_utc": -1}, "since_utc must be"),
        ({"since_utc": True}, "since_utc must be"),
        ({"more": 1}, "keys differ"),
    ],
)
def test_an_entry_out_of_its_form_is_refused(changed, told):
    value = json.loads(HaltedArms(halted=(ONE,)).to_bytes())
    value["halted"][0] |= changed
    with pytest.raises(BundleInvalidError, match=told):
        HaltedArms.from_bytes(canonical_json(value))


def test_too_many_and_equal_entries_are_refused():
    with pytest.raises(BundleInvalidError, match="stands twice"):
        HaltedArms(halted=(ONE, replace(ONE, reason="again"))).to_bytes()
    many = tuple(replace(ONE, arm=f"a{n}") for n in range(MAX_HALTED + 1))
    with pytest.raises(BundleInvalidError, match="at most 64"):
        HaltedArms(halted=many).to_bytes()
    assert HaltedArms(halted=many[1:]).to_bytes()
