"""Slow retrieval: the server sends, but so slowly that the phone would never be done."""

import time

import pytest

from pocketrec_edge.errors import SyncError
from pocketrec_edge.sync.http import Pace

HASTY = Pace(least=1024, within_s=0.3)


@pytest.mark.parametrize("part", ["timestamp.json", ".snapshot.json", ".policy.json"])
def test_a_server_that_drips_is_left(site, part):
    dripped = []

    def drip(handler):
        if part not in handler.path:
            return False
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(3000):
                handler.wfile.write(b" ")
                dripped.append(1)
                time.sleep(0.01)
        except OSError:
            pass
        return True

    site.publish(1)
    site.attacks.append(drip)
    with pytest.raises(SyncError, match="release on this phone stays"):
        site.sync(pace=HASTY)
    assert 0 < len(dripped) < 1000
    assert site.release_of() == "0"
    site.attacks.clear()
    assert site.sync(pace=HASTY).status == "updated"
