import json

import pytest

from pocketrec_bundle.encoding.strict_json import MAX_UTC
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.settings.halts import MAX_BYTES, MAX_HALTS, Halt, Halts

SHA, OTHER = "0a" * 32, "0b" * 32
SOUND = {"manifest": SHA, "reason": "7 of 100 devices failed", "since_utc": 5}


def encoded(*halted: object, **changes: object) -> bytes:
    return json.dumps({"format": 1, "halted": list(halted), **changes}).encode()


def test_halts_survive_json_and_name_their_reason():
    found = Halts.from_bytes(encoded(SOUND))
    assert json.loads(found.to_bytes()) == {"format": 1, "halted": [SOUND]}
    assert found.reason(SHA) == "7 of 100 devices failed"
    assert found.reason(OTHER) is None


@pytest.mark.parametrize(
    "change",
    [
        *({"manifest": value} for value in (None, SHA[:-1], SHA.upper(), SHA + "\n")),
        *({"reason": value} for value in (None, 1, "x" * 201)),
        *({"since_utc": value} for value in (-1, 1.0, None, MAX_UTC + 1)),
        {"more": 1},
    ],
)
def test_a_halt_that_is_not_as_it_should_be_is_refused(change):
    with pytest.raises(BundleInvalidError, match="halts: halt 1"):
        Halts.from_bytes(encoded(SOUND | change))


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"[]", b"{}", encoded(format=2), encoded(format=True), encoded(more=1)),
        *(encoded(halted={}), encoded(1), encoded(SOUND, SOUND | {"reason": "again"})),
        encoded(*({**SOUND, "manifest": f"{at:064x}"} for at in range(MAX_HALTS + 1))),
        encoded() + b" " * MAX_BYTES,
    ],
)
def test_halts_of_another_form_are_refused(data):
    with pytest.raises(BundleInvalidError, match="halts"):
        Halts.from_bytes(data)


def test_halts_that_devices_would_refuse_are_not_written():
    with pytest.raises(BundleInvalidError, match="reason"):
        Halts(halted=(Halt(manifest=SHA, reason="x" * 201, since_utc=0),)).to_bytes()
    many = (Halt(manifest=f"{at:064x}", reason="é" * 200, since_utc=1) for at in range(MAX_HALTS))
    assert Halts(halted=tuple(many)).to_bytes()  # the most there can be fit
