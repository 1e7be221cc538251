import json
import shutil
from pathlib import Path

import pytest

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.strict_json import MAX_TEXT, MAX_UTC
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.settings.campaigns import MAX_CAMPAIGNS, MAX_ITEM_ID, MAX_PRIORITY, Campaigns
from pocketrec_export.conformance.tiny_bundle import CAMPAIGNS, write_tiny_bundle

DATA = Path(__file__).parent.parent / "data"
SOUND = {
    "id": "summer-1",
    "item_id": "é-0",
    "label": "Sponsored",
    "from_utc": 0,
    "until_utc": 1,
    "priority": 0,
}


def one(**changes: object) -> dict[str, object]:
    return {"version": 1, "campaigns": [SOUND | changes]}


def test_campaigns_survive_json():
    longest = {"id": "x" * MAX_TEXT, "item_id": "y" * MAX_ITEM_ID, "priority": MAX_PRIORITY}
    listed = [SOUND, SOUND | longest | {"from_utc": MAX_UTC - 1, "until_utc": MAX_UTC}]
    value = {"version": 1, "campaigns": listed}
    found = Campaigns.from_json(value)
    assert found.to_json() == json.loads(canonical_json(found.to_json())) == value


@pytest.mark.parametrize(
    "change",
    [
        *({"id": value} for value in ("", "  ", 1, None, "x" * (MAX_TEXT + 1))),
        *({"item_id": value} for value in ("", 3, ["a"], "x" * (MAX_ITEM_ID + 1))),
        *({"label": value} for value in ("", "\t", True, "x" * (MAX_TEXT + 1))),
        *({"from_utc": value} for value in (-1, 1.0, True, 1, 2, MAX_UTC + 1)),
        *({"until_utc": value} for value in (0, -1, None, MAX_UTC + 1)),
        *({"priority": value} for value in (-1, MAX_PRIORITY + 1, 0.5, "1")),
        {"budget": 3},
    ],
)
def test_a_campaign_that_is_not_as_it_should_be_is_refused(change):
    with pytest.raises(BundleInvalidError, match=r"campaigns\.json: campaign 1"):
        Campaigns.from_json(one(**change))


@pytest.mark.parametrize(
    "value",
    [
        *(None, [], {}, {"version": 1}, one() | {"more": 1}, one() | {"version": 2}),
        *(one() | {"version": True}, one() | {"campaigns": {}}, one() | {"campaigns": [1]}),
        one() | {"campaigns": [{}]},
        one() | {"campaigns": [SOUND, SOUND | {"priority": 3}]},
        one() | {"campaigns": [SOUND | {"id": str(number)} for number in range(MAX_CAMPAIGNS + 1)]},
    ],
)
def test_campaigns_of_another_form_are_refused(value):
    with pytest.raises(BundleInvalidError, match=r"campaigns\.json"):
        Campaigns.from_json(value)


def test_a_campaign_runs_from_its_first_second_to_before_its_last():
    (found,) = Campaigns.from_json(one(from_utc=5, until_utc=7)).campaigns
    assert [now for now in range(10) if found.runs(now)] == [5, 6]


def test_a_release_has_its_campaigns(tmp_path):
    write_tiny_bundle(tmp_path / "b")
    assert open_bundle(tmp_path / "b").campaigns == CAMPAIGNS


@pytest.mark.parametrize("kept", ["v1", "v2"])
def test_a_release_from_before_has_none(kept):
    assert open_bundle(DATA / kept).campaigns.campaigns == ()


def test_a_release_of_version_1_passes_the_file_over(tmp_path, resign):
    folder = Path(shutil.copytree(DATA / "v1", tmp_path / "v1"))
    resign(folder, {"campaigns.json": canonical_json(CAMPAIGNS.to_json())})
    assert open_bundle(folder).campaigns.campaigns == ()


def test_bad_campaigns_refuse_the_release(tmp_path, resign):
    write_tiny_bundle(tmp_path / "b")
    resign(tmp_path / "b", {"campaigns.json": b'{"version":1,"campaigns":7}'})
    with pytest.raises(BundleInvalidError, match=r"campaigns\.json: campaigns"):
        open_bundle(tmp_path / "b")
