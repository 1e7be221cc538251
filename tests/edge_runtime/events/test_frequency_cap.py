"""The budget log: counted by day, encrypted with the events, gone when it is no longer needed."""

import pytest

from pocketrec_bundle.units import DAY_S
from pocketrec_edge.errors import EventLogError
from pocketrec_edge.events.frequency_cap import Showing
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.events.retention import SHOWING_DAYS, Retention

NOW = 1000 * DAY_S + 60


class Xor:
    """Stands in for the app's cipher: enough to see that bytes are changed and turned back."""

    def __init__(self, key=7):
        self.key = key

    def encrypt(self, plain):
        return b"sealed" + bytes(byte ^ self.key for byte in plain)

    def decrypt(self, sealed):
        assert sealed.startswith(b"sealed")
        return bytes(byte ^ self.key for byte in sealed[6:])


def shown(log):
    return [each for each in log.export_rows() if isinstance(each, Showing)]


def test_showings_are_counted_by_campaign_and_day(tmp_path):
    log = EventLog(tmp_path / "e.sqlite")
    log.add_showings(["a", "b"], NOW)
    log.add_showings(["a"], NOW + 5)
    log.add_showings(["a"], NOW - 61)  # the day before
    log.add_showings(["b"], NOW + DAY_S)  # a clock that was ahead
    assert log.showings(NOW) == {"a": 2, "b": 1}
    assert log.showings(NOW - 61) == {"a": 1}
    assert log.showings(NOW + 5 * DAY_S) == {}
    assert [each.ts for each in shown(log)] == [NOW - 61, NOW, NOW, NOW + 5, NOW + DAY_S]
    assert log.status().showings == 5 and log.status().events == 0


def test_nothing_of_them_is_pending_whatever_the_consent(tmp_path):
    log = EventLog(tmp_path / "e.sqlite")
    log.set_consent(True)
    log.add_showings(["a"], NOW)
    assert log.pending(9) == [] and log.status().pending == 0


@pytest.mark.parametrize("plain_first", [True, False])
def test_a_cipher_hides_campaigns_too(tmp_path, bytes_of, plain_first):
    path = tmp_path / "e.sqlite"
    log = EventLog(path, cipher=None if plain_first else Xor())
    log.add_showings(["campaign-zebra"], NOW)
    log.close()
    assert (b"zebra" in bytes_of(tmp_path)) == plain_first
    log = EventLog(path, cipher=Xor())
    assert b"zebra" not in bytes_of(tmp_path)
    log.add_showings(["campaign-zebra"], NOW)
    assert log.showings(NOW) == {"campaign-zebra": 2}
    assert shown(log) == [Showing(campaign="campaign-zebra", ts=NOW)] * 2
    log.close()
    with pytest.raises(EventLogError, match="another key"):
        EventLog(path, cipher=Xor(9))


@pytest.mark.parametrize(("days", "kept"), [(365, SHOWING_DAYS), (3, 3)])
def test_old_showings_go_and_leave_no_byte(tmp_path, bytes_of, days, kept):
    path = tmp_path / "e.sqlite"
    log = EventLog(path)
    log.add_showings(["zebra"], NOW - kept * DAY_S - 1)
    log.add_showings(["okapi"], NOW - kept * DAY_S)
    log.append("item", "like", ts=NOW)
    log.close()
    log = EventLog(path, limits=Retention(days=days), clock=lambda: NOW)
    assert [each.campaign for each in shown(log)] == ["okapi"]
    assert log.status().events == 1 and log.status().removed == {}
    log.close()
    assert b"zebra" not in bytes_of(tmp_path)


def test_where_the_log_cannot_be_written_no_showing_is_noted(tmp_path, unwritable):
    EventLog(tmp_path / "e.sqlite").close()
    unwritable()
    log = EventLog(tmp_path / "e.sqlite")
    with pytest.raises(EventLogError, match="readonly"):
        log.add_showings(["a"], NOW)
    assert log.showings(NOW) == {}
