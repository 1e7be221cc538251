"""What FORMAT.md states of experiments is what the code has."""

import re
from pathlib import Path

import pytest

from pocketrec_bundle.settings.assignment import is_enrolled, place_in, unit
from pocketrec_bundle.settings.experiment import (
    MAX_ARMS,
    MAX_GUARDRAILS,
    MAX_HYPOTHESIS,
    MIN_ARMS,
    RUNNING,
    STATES,
    Experiment,
)
from pocketrec_bundle.settings.experiment_arms import (
    MAX_FLAGS,
    MAX_HEADS,
    MAX_WEIGHT,
    METRICS,
    USERS,
    Arm,
    Guardrail,
)
from pocketrec_bundle.settings.experiments import (
    MAX_BYTES,
    MAX_EXPERIMENTS,
    MAX_PAUSE_S,
    MIN_PAUSE_S,
    Experiments,
)

RULES = {
    "version": 1,
    "depth": 9,
    "rules": [{"kind": "band_cap", "column": "price", "bounds": [1], "limit": 1}],
}


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "bundle" / "FORMAT.md").read_text().partition("\n## Experiments\n")[2]


def keys(text: str) -> set[str]:
    """Names in the first column of the first table of a text."""
    table = text.partition("|---|---|---|\n")[2].partition("\n\n")[0]
    cells = "".join(re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE))
    return set(re.findall(r"`(\w+)`", cells))


def test_stated_keys_are_the_reader_s(page):
    top = page.partition("Keys:\n")[2].partition("\nAn experiment:")[0]
    stated = set(re.findall(r"^- `(\w+)`", top, re.MULTILINE))
    assert stated == {"format"} | set(Experiments.__dataclass_fields__)
    for heading, kind in (
        ("An experiment:", Experiment),
        ("An arm:", Arm),
        ("A guardrail:", Guardrail),
    ):
        assert keys(page.partition(f"\n{heading}\n")[2]) == set(kind.__dataclass_fields__)


def test_stated_bounds_are_the_reader_s(page):
    assert f"at most {MAX_BYTES >> 10} KiB" in page
    assert f"`session_pause_s`: integer {MIN_PAUSE_S}..{MAX_PAUSE_S}." in page
    assert f"`experiments`: a list of at most {MAX_EXPERIMENTS}, the newest first" in page
    assert f"`arms` | a list of {MIN_ARMS}..{MAX_ARMS};" in page
    assert f"a text of at most {MAX_HYPOTHESIS} characters" in page
    assert f"`guardrails` | a list of at most {MAX_GUARDRAILS}; no two" in page
    assert f"1..{MAX_HEADS} numbers -{MAX_WEIGHT}..{MAX_WEIGHT} by head" in page
    assert f"an object of at most {MAX_FLAGS}:" in page
    for names in (STATES, METRICS, USERS):
        assert ", ".join(f"`{name}`" for name in names) in page


def test_the_device_of_the_example_is_in_the_stated_arm(page):
    shown = re.search(
        r"Example: bucket id `(\w+)`, layer `(\w+)`, salt of 32 `0`: p = ([\d.]+) and\s"
        r"x = ([\d.]+)\. With segment \[0, 0\.1\] the device is enrolled at (\d+)%, and not at "
        r"(\d+)%\.(?s:.+?) salt of 32 `f`, u = ([\d.]+):",
        page,
    )
    assert shown is not None
    device = bytes.fromhex(shown[1])
    numbers = (place_in(shown[2], device), unit(device, bytes(16)), unit(device, b"\xff" * 16))
    assert tuple(f"{one:.12f}" for one in numbers) == (shown[3], shown[4], shown[7])
    for percent, inside in ((shown[5], True), (shown[6], False)):
        one = Experiment(
            id="a",
            hypothesis="",
            salt="0" * 32,
            layer=shown[2],
            segment=(0, 0.1),
            state=RUNNING,
            from_utc=0,
            until_utc=1,
            percent=float(percent),
            arms=(Arm(name="a", share=0.5), Arm(name="b", share=0.5)),
        )
        assert is_enrolled(one, device, 0) is inside


def depth(value: object) -> int:
    if not isinstance(value, dict | list | tuple):
        return 0
    parts = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth, parts), default=0)


def test_experiments_nest_as_deep_as_the_page_says(repository):
    arms = tuple(Arm(name=name, share=0.5, rules=RULES) for name in "ab")
    one = Experiment(
        id="a",
        hypothesis="",
        salt="0" * 32,
        layer="a",
        segment=(0, 1),
        state=RUNNING,
        from_utc=0,
        until_utc=1,
        arms=arms,
    )
    deepest = depth(Experiments(channel="stable", experiments=(one,)).to_json())
    page = (repository / "bundle" / "FORMAT.md").read_text().replace("\n", " ")
    assert f"except [Experiments](#experiments): {deepest}." in page
