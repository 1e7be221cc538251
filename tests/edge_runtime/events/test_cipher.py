"""The log with an app's key: AES-GCM here, as a phone's key store would do it."""

import os
import sqlite3
from itertools import count

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pocketrec_edge.device import Device
from pocketrec_edge.errors import EventLogError
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.events.privacy import erase, export_data
from pocketrec_edge.phone_home import PhoneHome


class AesGcm:
    """NIST SP 800-38D with a random nonce of 96 bits in front."""

    def __init__(self, key):
        self.gcm = AESGCM(key)

    def encrypt(self, plain):
        nonce = os.urandom(12)
        return nonce + self.gcm.encrypt(nonce, plain, None)

    def decrypt(self, sealed):
        return self.gcm.decrypt(sealed[:12], sealed[12:], None)


@pytest.fixture
def cipher():
    return AesGcm(bytes(range(32)))


SECRETS = (b"item-42", b"purchased", b"11.125", b"kitchen")


def fill(log):
    log.append("item-42", "purchased", ts=7, value=11.125, context={"room": "kitchen"})
    log.append("item-42", "like", ts=8)
    log.append("item-9", "purchased", ts=9, kind="impression")


def test_what_the_events_say_is_in_no_file_and_comes_back(tmp_path, cipher, bytes_of):
    log = EventLog(tmp_path / "e.sqlite", cipher=cipher)
    fill(log)
    log.set_consent(True)
    first = log.pending(1)[0]
    assert (first.item_id, first.event, first.value) == ("item-42", "purchased", 11.125)
    assert first.context == {"room": "kitchen"}
    assert not [secret for secret in SECRETS if secret in bytes_of(tmp_path)]
    log.close()
    again = EventLog(tmp_path / "e.sqlite", cipher=cipher)
    assert again.pending(1) == [first]
    assert (again.status().events, again.status().interactions) == (3, 2)


def test_history_and_slates_are_those_of_a_plain_log(tmp_path, small_release, cipher):
    slates = []
    for name, key in (("plain", None), ("sealed", cipher)):
        clock = count(10**9).__next__  # within a second, events have the order of random ids
        phone = Device(tmp_path / name, bundle=small_release, cipher=key, clock=clock)
        for n in (3, 4, 5):
            phone.feedback(f"item-{n}", "like")
        answer = phone.recommend()
        assert (answer.history, answer.faults) == (3, ())
        slates.append([item.item_id for item in answer.items])
    assert slates[0] == slates[1]


@pytest.mark.parametrize("wrong", [None, AesGcm(bytes(32))])
def test_a_wrong_key_is_told_and_nothing_is_lost(tmp_path, small_release, cipher, wrong):
    log = EventLog(tmp_path / "events.sqlite", cipher=cipher)
    fill(log)
    log.close()
    before = (tmp_path / "events.sqlite").read_bytes()
    with pytest.raises(EventLogError, match=r"is encrypted.*othing was changed"):
        EventLog(tmp_path / "events.sqlite", cipher=wrong)
    phone = Device(tmp_path, bundle=small_release, cipher=wrong)
    answer = phone.recommend()
    assert len(answer.items) == 10
    assert "is encrypted" in answer.faults[0].text
    assert "is encrypted" in phone.status().faults[0].text
    with pytest.raises(EventLogError, match="is encrypted"):
        phone.feedback("item-1", "like")
    with pytest.raises(EventLogError, match="is encrypted"):
        export_data(PhoneHome(tmp_path), tmp_path / "out", now=0, cipher=wrong)
    assert not list(tmp_path.glob("*out*"))
    assert (tmp_path / "events.sqlite").read_bytes() == before
    assert EventLog(tmp_path / "events.sqlite", cipher=cipher).status().events == 3


def test_a_plain_log_is_encrypted_whole_and_its_plain_bytes_go(
    tmp_path, cipher, bytes_of, write_first_log
):
    write_first_log(tmp_path / "e.sqlite", 500)
    assert b"item-42" in bytes_of(tmp_path)
    log = EventLog(tmp_path / "e.sqlite", cipher=cipher)
    assert b"item-42" not in bytes_of(tmp_path)
    items = [each[0].item_id for each in log.export_rows() if isinstance(each, tuple)]
    assert items == [f"item-{n}" for n in range(500)]


def test_a_cipher_that_fails_leaves_the_plain_log_as_it_was(tmp_path, small_release):
    class Broken(AesGcm):
        def encrypt(self, plain):
            raise RuntimeError("the key store is locked")

    log = EventLog(tmp_path / "events.sqlite")
    fill(log)
    log.close()
    phone = Device(tmp_path, bundle=small_release, cipher=Broken(bytes(32)))
    answer = phone.recommend()
    assert len(answer.items) == 10
    assert "the key store is locked" in answer.faults[0].text
    assert EventLog(tmp_path / "events.sqlite").status().events == 3


def test_wiping_that_was_killed_is_done_at_the_next_open(tmp_path, cipher, bytes_of):
    log = EventLog(tmp_path / "e.sqlite")
    fill(log)
    reader = sqlite3.connect(tmp_path / "e.sqlite", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM event").fetchall()
    with pytest.raises(EventLogError, match=r"reads it|locked"):
        EventLog(tmp_path / "e.sqlite", cipher=cipher)
    reader.close()
    log.close()
    sealed = EventLog(tmp_path / "e.sqlite", cipher=cipher)
    assert sealed.status().events == 3
    assert not [secret for secret in SECRETS if secret in bytes_of(tmp_path)]


def test_killed_at_any_step_the_log_is_plain_or_sealed_and_then_wiped(
    tmp_path, cipher, bytes_of, killed_at
):
    finished = False
    for n in range(0, 4000, 5):
        path = tmp_path / str(n) / "e.sqlite"
        log = EventLog(path)
        fill(log)
        log.close()
        finished = killed_at(n, lambda path=path: EventLog(path, cipher=cipher))
        assert EventLog(path, cipher=cipher).status().events == 3
        assert not [secret for secret in SECRETS if secret in bytes_of(path.parent)]
        if finished:
            break
    assert finished
    assert n > 0


def test_a_changed_row_is_told(tmp_path, cipher, small_release):
    phone = Device(tmp_path, bundle=small_release, cipher=cipher, clock=lambda: 1e9)
    phone.feedback("item-1", "like")
    sqlite3.connect(tmp_path / "events.sqlite", isolation_level=None).execute(
        "UPDATE event SET sealed = zeroblob(60)"
    )
    answer = phone.recommend()
    assert len(answer.items) == 10
    assert "another key" in answer.faults[0].text


def test_erasing_needs_no_key(tmp_path, cipher):
    log = EventLog(tmp_path / "events.sqlite", cipher=cipher)
    fill(log)
    log.close()
    assert erase(PhoneHome(tmp_path)).events == 3
    assert EventLog(tmp_path / "events.sqlite").status().events == 0
