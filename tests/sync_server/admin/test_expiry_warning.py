"""The warning about metadata: none while all is good, and what to do once it is not."""

import time
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from pocketrec_server.admin import layout as admin_layout
from pocketrec_server.admin.attention import banner
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.renewal import refresh
from pocketrec_server.repository.roles import lifetime
from pocketrec_server.storage.database import default_url, open_database

DAY_S = 86_400
PAGES = ("", "releases", "fleet", "history")


def test_fresh_metadata_and_no_metadata_need_no_warning(tiny_repo, tmp_path):
    assert banner(tiny_repo, int(time.time())) is None
    assert banner(tmp_path / "nothing", int(time.time())) is None


@pytest.mark.parametrize(
    ("days", "expired", "soon"),
    [
        (6.5, "", "timestamp"),
        (8, "timestamp", ""),
        (26, "timestamp", "brake snapshot"),
        (31, "brake snapshot timestamp", ""),
        (151, "brake snapshot timestamp", "beta canary stable"),
        (400, "beta brake canary root snapshot stable targets timestamp", ""),
    ],
)
def test_roles_are_named_as_they_expire(tiny_repo, days, expired, soon):
    found = banner(tiny_repo, int(time.time() + days * DAY_S))
    assert found is not None
    assert [role for role, _ in found.expired] == expired.split()
    assert [role for role, _ in found.soon] == soon.split()
    assert {"snapshot", "timestamp"} <= set(found.keys)
    assert ("two of root" in found.keys) == ("root" in expired)
    assert found.by_server == (days < 100)
    for role, left in found.soon:
        assert 0 < left < lifetime(role).total_seconds() / 6


def test_the_keys_that_the_warning_names_end_it(tiny_repo, tmp_path):
    later = datetime.now(UTC) + timedelta(days=400)
    found = banner(tiny_repo, int(later.timestamp()))
    assert found is not None
    assert set(found.keys) == {"two of root", *(role for role, _ in found.expired)} - {"root"}
    refresh(tiny_repo, load_signers(tmp_path / "keys"), now=later)
    assert banner(tiny_repo, int(later.timestamp())) is None


def test_expired_metadata_is_a_banner_on_every_page(
    tiny_repo, make_app, log_in, token_of, monkeypatch
):
    engine = open_database(default_url(tiny_repo))
    person = log_in(make_app(tiny_repo), token_of(engine)[0])
    for path in (*PAGES, "nothing"):
        assert "Expired metadata" not in person.client.get(f"/admin/{path}").text
    later = partial(_later, banner)
    monkeypatch.setattr(admin_layout, "banner", later)
    for path in (*PAGES, "nothing"):
        page = person.client.get(f"/admin/{path}").text
        assert "Expired metadata: timestamp (24 hours ago)" in page
        assert "pocketrec refresh --repo repo/ --keys keys/" in page
    assert (
        "Expired metadata" not in person.client.application.test_client().get("/admin/login").text
    )


def _later(banner, repo, now):
    """What stands on a page eight days from now."""
    return banner(repo, now + 8 * DAY_S)


@pytest.mark.parametrize("text", ["", "[]", '{"signed": []}', '{"signed": {"expires": 5}}'])
def test_damaged_metadata_is_no_warning_and_no_crash(tiny_repo, text):
    (tiny_repo / "metadata" / "timestamp.json").write_text(text)
    assert banner(tiny_repo, int(time.time())) is None


def test_damaged_metadata_beside_a_good_timestamp_is_no_crash(tiny_repo):
    path = next((tiny_repo / "metadata").glob("*.snapshot.json"))
    path.write_text('{"signed": {"expires": "2030-01-01T00:00:00Z", "meta": []}}')
    assert banner(tiny_repo, int(time.time())) is None
