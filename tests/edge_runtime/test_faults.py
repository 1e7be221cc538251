"""What can go wrong on a phone: a slate still comes, and `status` says what it was."""

import itertools
import os
import sqlite3

import numpy as np
import pytest

from pocketrec_bundle.encoding.arrays import encode_array
from pocketrec_bundle.features import History
from pocketrec_bundle.items.catalogue import write_catalogue
from pocketrec_bundle.items.items import ItemArrays
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.versions import item_files
from pocketrec_bundle.writer import BundleWriter
from pocketrec_edge.device import Device
from pocketrec_edge.errors import EventLogError
from pocketrec_edge.recommend.filters import Filters
from pocketrec_edge.recommend.pipeline import NOTHING_LEFT
from pocketrec_edge.releases.store import Store

NOW = 1_700_000_000


class Answers:
    """A model that gives one answer."""

    def __init__(self, answer):
        self.answer = answer

    def run(self, inputs):
        return self.answer


def blob(home, name):
    """The stored file behind a name of the active release."""
    store = Store(home / "store")
    active, _ = store.active()
    assert active is not None
    return store.files / store.read_manifest(active).entry(name).sha256


@pytest.fixture
def home(small_release, tmp_path):
    """A phone with the small release and one like."""
    phone = Device(tmp_path, clock=lambda: NOW)
    phone.install(small_release)
    phone.feedback("item-5", "like")
    phone.close()
    return tmp_path


@pytest.mark.parametrize(
    ("model", "answer", "source"),
    [
        ("_ranker", np.full((50, 2), np.nan, np.float32), "retrieval"),
        ("_ranker", np.full((50, 2), np.inf, np.float32), "retrieval"),
        ("_ranker", np.zeros((7, 2), np.float32), "retrieval"),
        ("_tower", np.full((1, 16), np.nan, np.float32), "fallback"),
        ("_tower", np.zeros((1, 3), np.float32), "fallback"),
    ],
)
def test_a_model_that_gives_no_numbers(home, model, answer, source):
    phone = Device(home, clock=lambda: NOW)
    setattr(phone._recommender, model, Answers(answer))
    slate = phone.recommend()
    assert (slate.source, len(slate.items)) == (source, 10)
    assert "not finite, or of the wrong shape" in slate.faults[0].text
    assert phone.status().faults == slate.faults


def test_a_fault_of_an_earlier_slate_is_over_in_the_status(home):
    phone = Device(home, clock=lambda: NOW)
    recommender = phone._recommender
    assert recommender is not None
    sound, recommender._ranker = recommender._ranker, Answers(np.zeros((1, 1)))
    assert phone.recommend().faults
    recommender._ranker = sound
    assert phone.recommend().faults == ()
    assert phone.status().faults == ()


def test_items_of_the_history_that_the_release_does_not_know(home):
    phone = Device(home, clock=lambda: NOW)
    assert phone._log is not None
    for item_id in ("gone", "", "x" * 10_000, "'; DROP TABLE event; --", "\U0001f600"):
        phone._log.append(item_id, "like", ts=NOW)  # as an earlier version of an app logged them
    phone._log.append("item-6", "no such event", ts=NOW)
    answer = phone.recommend()
    assert (answer.history, answer.unknown_items, len(answer.items)) == (1, 6, 10)
    assert answer.source == "model"


def test_a_history_of_unknown_items_only_is_that_of_a_new_user(small_release, tmp_path):
    phone = Device(tmp_path, bundle=small_release, clock=lambda: NOW)
    new = [item.item_id for item in phone.recommend().items]
    phone.feedback("gone", "like")
    assert [item.item_id for item in phone.recommend().items] == new


def test_every_item_seen_or_withdrawn(small_release, tmp_path, monkeypatch):
    phone = Device(tmp_path, bundle=small_release, clock=lambda: NOW)
    assert phone.bundle is not None
    rows = np.arange(phone.bundle.item_count, dtype=np.int32)
    everything = History(rows, np.ones(len(rows), np.int32), np.full(len(rows), NOW))
    monkeypatch.setattr(phone._log, "history", lambda bundle: (everything, 0))
    answer = phone.recommend()
    assert answer.items == ()
    assert answer.faults == phone.status().faults
    assert [*map(str, answer.faults)] == [NOTHING_LEFT]
    assert phone.recommend(exclude_seen=False).items
    assert phone._recommender is not None
    phone._recommender._tower = Answers(np.full((1, 16), np.nan))
    popular = phone.recommend()  # better what was seen than nothing
    assert (popular.source, len(popular.items)) == ("fallback", 10)


def test_all_items_filtered(home):
    phone = Device(home, clock=lambda: NOW)
    answer = phone.recommend(filters=Filters(any_of=("no such category",)))
    assert (answer.items, answer.source) == ((), "model")
    assert [fault.code for fault in answer.faults] == ["unknown_filter", "all_filtered"]
    assert str(answer.faults[1]) == "all items filtered"
    assert phone.status().faults == answer.faults
    assert len(phone.recommend().items) == 10


def test_an_empty_catalogue(small_release, tmp_path):
    base, out = open_bundle(small_release), tmp_path / "empty"
    d, n_cells = base.spec.dim, len(base.array("index/centroids"))
    arrays = {
        "index/centroids": base.array("index/centroids"),
        "index/offsets": np.zeros(n_cells + 1, np.int32),
        "index/rows": np.zeros((0, d), np.int8),
        "items/popular": np.zeros(0, np.int32),
    }
    items = ItemArrays(
        ids=[],
        by_id=np.zeros(0, np.int64),
        offsets=arrays["index/offsets"],
        scales=np.zeros(0, np.float32),
        categories=np.zeros((0, base.spec.max_categories), np.uint16),
        numeric=np.zeros((0, len(base.spec.numeric)), np.float32),
        available=np.zeros(0, np.bool_),
    )
    write_catalogue(tmp_path / "catalogue", [])
    with BundleWriter(out) as writer:
        for name, array in (arrays | item_files(writer.format_version, items, None)).items():
            writer.add(name, encode_array(array), "array")
        for entry in base.manifest.files:
            if entry.kind == "model" or entry.name in ("feature_spec.json", "policy.json"):
                writer.add(entry.name, base.read(entry.name), entry.kind, **dict(entry.meta))
        writer.add("catalogue.sqlite", (tmp_path / "catalogue").read_bytes(), "catalogue")
        writer.finish(name="empty", recipe_name="empty", created_utc=NOW)
    phone = Device(tmp_path / "phone", bundle=out, clock=lambda: NOW)
    phone.feedback("item-5", "like")
    answer = phone.recommend()
    assert (answer.items, answer.unknown_items) == ((), 1)
    assert answer.faults == phone.status().faults
    assert [*map(str, answer.faults)] == [NOTHING_LEFT]


@pytest.mark.parametrize("back_s", [1, 86_400, NOW])
def test_clock_set_back(home, back_s):
    times = itertools.chain([NOW + 5], itertools.repeat(NOW - back_s))
    phone = Device(home, clock=lambda: next(times), limits=None)
    phone.feedback("item-7", "like")
    phone.feedback("item-8", "like")  # the clock was set back in between
    assert phone._log is not None and phone.bundle is not None
    history, _ = phone._log.history(phone.bundle)
    assert [phone.bundle.item_id(row) for row in history.rows.tolist()] == [
        "item-5",
        "item-7",
        "item-8",
    ]
    assert history.ts.tolist() == [NOW, NOW + 5, NOW + 5]
    answer = phone.recommend(page=1)
    assert (answer.source, answer.faults) == ("model", ())
    assert len(answer.items) == 10
    again = phone.recommend(page=1, session=answer.session)
    assert [i.item_id for i in again.items] == [i.item_id for i in answer.items]


@pytest.mark.parametrize("name", ["index/rows", "items/popular", "catalogue.sqlite", "policy.json"])
@pytest.mark.parametrize("keep", [0, 0.5])
def test_a_truncated_file_of_the_only_release_is_found_at_the_start(home, name, keep):
    path = blob(home, name)
    os.truncate(path, int(path.stat().st_size * keep))
    phone = Device(home, clock=lambda: NOW)
    answer = phone.recommend()
    source = "model" if name == "catalogue.sqlite" else "fallback"
    assert (len(answer.items), answer.source) == (10, source)
    assert f"{name}: " in answer.faults[0].text
    assert "the manifest says" in phone.status().faults[0].text
    phone.feedback("item-9", "like")  # what the user does is kept all the same
    assert phone.status().plain()["interactions"] == 2


def test_catalogue_that_is_damaged_while_open_leaves_ids_for_titles(home):
    phone = Device(home, clock=lambda: NOW)
    blob(home, "catalogue.sqlite").write_bytes(b"no database" * 400)
    answer = phone.recommend()
    assert len(answer.items) == 10
    assert all(item.title in (item.item_id, f"Title {item.item_id}") for item in answer.items)


def test_a_locked_log_loses_nothing_that_was_acknowledged(home, monkeypatch):
    monkeypatch.setattr("pocketrec_edge.events.log._BUSY_MS", 20)
    phone = Device(home, clock=lambda: NOW)
    acknowledged = [phone.feedback("item-6", "like")]
    other = sqlite3.connect(home / "events.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    answer = phone.recommend()
    assert (len(answer.items), answer.source) == (10, "model")
    assert "locked" in answer.faults[0].text
    assert any("locked" in fault.text for fault in phone.status().faults)
    with pytest.raises(EventLogError, match="locked"):
        phone.feedback("item-7", "like")
    other.execute("ROLLBACK")
    other.close()
    acknowledged.append(phone.feedback("item-7", "like"))
    phone.close()
    with sqlite3.connect(home / "events.sqlite") as log:
        kept = {row[0] for row in log.execute("SELECT id FROM event WHERE kind = 'interaction'")}
    assert set(acknowledged) <= kept
    assert len(kept) == 3


def test_a_log_on_a_read_only_disk_is_read_and_named(home, unwritable):
    unwritable()
    phone = Device(home, clock=lambda: NOW)
    answer = phone.recommend()
    assert (answer.history, len(answer.items)) == (1, 10)
    assert "readonly" in answer.faults[0].text
    assert "readonly" in phone.status().faults[0].text
    with pytest.raises(EventLogError, match="readonly"):
        phone.feedback("item-6", "like")
