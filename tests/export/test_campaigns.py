import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

from pocketrec.cli import main
from pocketrec_bundle.encoding.strict_json import MAX_UTC
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.features import History
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.settings.campaigns import FILE
from pocketrec_bundle.settings.rules import Mmr, Rules, Sponsored
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.recommend.sponsored_placements import SponsoredPlacements
from pocketrec_export.build import export_bundle
from pocketrec_export.campaigns import read_campaigns
from pocketrec_export.items.catalogue import update_catalogue

NOW = 1_000_000_000
PLACES = Rules(rules=(Sponsored(places=(2,), relevance=0.5, per_day=1),), depth=10)
IDS = ["a1", "b2", "c3"]
AVAILABLE = np.array([True, True, False])
LISTED = {"id": "s", "item_id": "a1", "label": "Ad", "from_utc": 1, "until_utc": 9, "priority": 4}
TOML = """
[[campaigns]]
id = "s"
item_id = "{item_id}"
label = "Ad"
from_utc = 1
until_utc = {until_utc}
priority = 4
"""


def test_toml_and_json_say_the_same(tmp_path):
    toml, plain, versioned = (tmp_path / name for name in ("c.toml", "c.json", "v.json"))
    toml.write_text(TOML.format(item_id="a1", until_utc=9))
    plain.write_text(json.dumps({"campaigns": [LISTED]}))
    versioned.write_text(json.dumps({"version": 1, "campaigns": [LISTED]}))
    one, two, three = (
        read_campaigns(path, PLACES, IDS, AVAILABLE) for path in (toml, plain, versioned)
    )
    assert one == two == three
    assert one.to_json()["campaigns"] == [LISTED]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("c.toml", TOML.format(item_id="z9", until_utc=9), "campaign 's': item 'z9' is unknown"),
        ("c.toml", TOML.format(item_id="c3", until_utc=9), "item 'c3' is withdrawn"),
        ("c.toml", TOML.format(item_id="a1", until_utc=1), "from_utc must be before"),
        ("c.toml", "[[campaigns]\n", "c.toml"),
        ("c.toml", 'version = 2\ncampaigns = ""', "version 2"),
        ("c.json", "{", "not JSON"),
        ("c.json", "[]", "keys differ"),
        ("c.json", '{"campaigns": [], "more": 1}', "keys differ"),
        ("c.json", None, "cannot be read"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_wrong_input(tmp_path, name, text, told):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=told) as refused:
        read_campaigns(tmp_path / name, PLACES, IDS, AVAILABLE)
    assert str(refused.value).startswith(str(tmp_path / name))


@pytest.mark.parametrize("rules", [None, Rules(rules=(Mmr(relevance=0.5),), depth=9)])
def test_campaigns_that_no_place_would_show_are_refused(tmp_path, rules):
    with pytest.raises(InputError, match=r"Set rerank\.sponsored_places"):
        read_campaigns(tmp_path / "c.toml", rules, IDS, AVAILABLE)


def write(path: Path, *item_ids: str) -> Path:
    listed = [
        LISTED | {"id": item_id, "item_id": item_id, "until_utc": MAX_UTC} for item_id in item_ids
    ]
    path.write_text(json.dumps({"campaigns": listed}))
    return path


def test_a_release_carries_campaigns_and_the_next_of_its_catalogue_keeps_or_replaces_them(
    repeats_run_dir: Path, tmp_path: Path, runner
):
    everything = [f"i{number:02d}" for number in range(40)]
    campaigns = write(tmp_path / "c.json", *everything)
    words = [str(repeats_run_dir), "--force"]
    base, kept, replaced, bare = (str(tmp_path / name) for name in ("b", "kept", "new", "bare"))
    done = runner.invoke(
        main, ["export", *words, "--out", base, "--campaigns", str(campaigns), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert [each.id for each in open_bundle(Path(base)).campaigns.campaigns] == everything
    (tmp_path / "changes.json").write_text(json.dumps({"withdraw": ["i07"]}))
    update_catalogue(Path(base), tmp_path / "changes.json", repeats_run_dir, Path(kept))
    next_one = open_bundle(Path(kept))
    assert [each.id for each in next_one.campaigns.campaigns] == everything
    slate = Recommender(next_one, "onnx").recommend(Query(History.empty(), NOW, showings={}))
    named = [item.sponsored and item.sponsored.campaign for item in slate.items]
    assert named == [None, slate.items[1].item_id, None, None, None]
    offers = SponsoredPlacements(next_one, next_one.campaigns).at(NOW, {})
    assert {each.campaign_id for each in offers} == {*everything} - {
        "i07"
    }  # withdrawn: passed over
    changes = ["--catalogue", str(tmp_path / "changes.json"), "--base", base]
    more = ["export", *words, *changes, "--campaigns"]
    words_on = ["device", "recommend", "--home", str(tmp_path / "phone"), "--bundle", kept]
    lines = runner.invoke(main, words_on).stdout.splitlines()
    assert ["[Ad]" in line for line in lines] == [False, True, False, False, False]
    write(campaigns, "i07")
    refused = runner.invoke(main, [*more, str(campaigns), "--out", replaced])
    assert refused.exit_code == 2 and "item 'i07' is withdrawn" in refused.stderr
    assert not Path(replaced).exists()
    write(campaigns, "i09")
    done = runner.invoke(main, [*more, str(campaigns), "--out", replaced])
    assert done.exit_code == 0, done.output
    assert [each.id for each in open_bundle(Path(replaced)).campaigns.campaigns] == ["i09"]
    export_bundle(run=repeats_run_dir, out=Path(bare), force=True)
    assert not open_bundle(Path(bare)).lists(FILE)


def test_a_recipe_without_places_takes_no_campaigns(run_dir: Path, tmp_path: Path):
    campaigns = write(tmp_path / "c.json", "i07")
    with pytest.raises(InputError, match="no places for campaigns"):
        export_bundle(run=run_dir, out=tmp_path / "b", force=True, campaigns=campaigns)
    assert not (tmp_path / "b").exists()
