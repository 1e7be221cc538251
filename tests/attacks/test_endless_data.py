"""Endless data: an answer that never ends. The phone stops at a bound that it knows before."""

import pytest

from pocketrec_edge.errors import SyncError

MOST = {  # of the answers of one try, with what lies in the pipe when the phone hangs up
    "timestamp.json": 16_384,
    ".root.json": 512_000,
    ".snapshot.json": 2_000_000,
    ".stable.json": 2 << 20,
    ".policy.json": 64 << 10,
}
PIPE = 6 << 20
TRIES = 4


@pytest.mark.parametrize("name", MOST)
def test_a_phone_hangs_up_at_its_bound(site, name):
    sent = 0

    def endless(handler):
        nonlocal sent
        if not handler.path.endswith(name):
            return False
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                sent += handler.wfile.write(b" " * 65_536)
        except OSError:
            return True

    site.publish(1)
    site.attacks.append(endless)
    with pytest.raises(SyncError):
        site.sync()
    assert site.release_of() == "0"
    assert 0 < sent <= TRIES * (MOST[name] + PIPE)
    site.attacks.clear()
    assert site.sync().status == "updated"
