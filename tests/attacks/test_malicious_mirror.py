"""Malicious mirrors that prevent updates: a phone keeps what it has, and says that it is stuck."""

import pytest

from pocketrec_edge.errors import SyncError


@pytest.mark.parametrize("status", [204, 301, 403, 404, 500, 503])
@pytest.mark.parametrize("part", ["timestamp.json", "snapshot.json", "/targets/", ""])
def test_whatever_it_answers_the_release_stays_and_a_good_mirror_ends_it(site, status, part):
    def refuse(handler):
        if part in handler.path:
            handler.send_response(status)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        return part in handler.path

    site.publish(1)
    site.attacks.append(refuse)
    with pytest.raises(SyncError, match="release on this phone stays"):
        site.sync()
    assert site.release_of() == "0"
    site.attacks.clear()
    assert site.sync().status == "updated"


def test_an_answer_that_nothing_changed_is_believed_only_as_long_as_it_is_signed(site):
    """304 to everything: a new phone gets nowhere, one that has a release stays current."""

    def unchanged(handler):
        handler.send_response(304)
        handler.end_headers()
        return True

    site.attacks.append(unchanged)
    assert site.sync().status == "current"
    with pytest.raises(SyncError):
        site.sync(home="new phone")
