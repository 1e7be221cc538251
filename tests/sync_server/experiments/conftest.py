"""Plans of experiments."""

import pytest

NOW = 1_800_000_000


@pytest.fixture
def plan():
    """Return a function that makes a plan of two arms; keys of the second arm are in `arm`."""

    def make(name="blend", arm=None, **more):
        arms = [
            {"name": "control", "share": 0.5},
            {"name": "treatment", "share": 0.5}
            | ({"flags": {"big": True}} if arm is None else arm),
        ]
        return {"id": name, "until_utc": NOW + 28 * 86_400, "arms": arms} | more

    return make
