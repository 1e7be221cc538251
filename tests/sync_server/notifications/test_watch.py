"""From the attention line to real receivers: once each, tried again with limits, and resolved."""

import itertools
import json
import threading
import time
from dataclasses import replace

import pytest

from pocketrec_server.admin.attention import entries, notices
from pocketrec_server.app import create_app
from pocketrec_server.auth import audit
from pocketrec_server.notifications import outbox
from pocketrec_server.notifications.message import Notice
from pocketrec_server.notifications.outbox import FAILED, GONE_S, SENT, WAITING, WAITS_S
from pocketrec_server.notifications.settings import Notifications
from pocketrec_server.notifications.watch import once, watch
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.publish import halt
from pocketrec_server.settings import Settings
from pocketrec_server.storage.database import connect, default_url, open_database

NOW = 1_796_083_200
HALT = Notice(kind="halted", level="bad", text="a is halted", channel="stable", manifest="a" * 64)


def seen(*found):
    """A function that looks and sees these notices."""
    return lambda repo, engine, now: found


def bodies(receiver):
    return [json.loads(body) for _, _, body in receiver.received]


@pytest.fixture
def hook(receiver):
    return Notifications(webhook=receiver.webhook, mail=None)


def test_a_notice_is_sent_once_on_each_transport_and_again_when_it_is_over(
    engine, both, receiver, post, tmp_path
):
    for step in range(3):
        once(tmp_path, engine, both, seen(HALT), NOW + 30 * step)
    assert [one["state"] for one in bodies(receiver)] == ["began"]
    assert len(post.mails) == 1
    once(tmp_path, engine, both, seen(), NOW + 90)
    assert len(receiver.received) == 1  # absent for half a minute only
    once(tmp_path, engine, both, seen(HALT), NOW + 300)
    once(tmp_path, engine, both, seen(), NOW + 300 + GONE_S)
    assert [one["state"] for one in bodies(receiver)] == ["began", "ended"]
    assert b"resolved: a is halted" in post.mails[1]
    once(tmp_path, engine, both, seen(HALT), NOW + 5000)
    assert [one["state"] for one in bodies(receiver)] == ["began", "ended", "began"]
    assert {one.state for one in outbox.newest(engine, 9)} == {SENT}


def test_two_halted_arms_are_two_messages_with_the_page_of_experiments(
    engine, hook, receiver, tmp_path
):
    a, b = (
        Notice(
            kind="halted", level="bad", text=f"{n} is halted", channel="stable", arm=f"blend/{n}"
        )
        for n in "ab"
    )
    site = replace(hook, site="https://rec.example.org/admin/")
    once(tmp_path, engine, site, seen(a), NOW)
    once(tmp_path, engine, site, seen(a, b), NOW + 30)
    once(tmp_path, engine, site, seen(b), NOW + 700)
    once(tmp_path, engine, site, seen(b), NOW + 700 + GONE_S)
    said = [(one["state"], one["text"], one["link"]) for one in bodies(receiver)]
    link = "https://rec.example.org/admin/experiments"
    assert said == [
        ("began", "a is halted", link),
        ("began", "b is halted", link),
        ("ended", "a is halted", link),
    ]


@pytest.mark.parametrize("kinds", [("halted", "unreadable"), ("halted",)])
def test_what_cannot_be_read_is_not_resolved(engine, receiver, tmp_path, kinds):
    settings = Notifications(webhook=receiver.webhook, mail=None, kinds=kinds)
    unread = Notice(kind="unreadable", level="bad", text="cannot be read")
    once(tmp_path, engine, settings, seen(HALT), NOW)
    once(tmp_path, engine, settings, seen(unread), NOW + GONE_S)
    once(tmp_path, engine, settings, seen(HALT), NOW + 2 * GONE_S)
    assert "ended" not in [one["state"] for one in bodies(receiver) if one["kind"] == "halted"]
    once(tmp_path, engine, settings, seen(), NOW + 3 * GONE_S)
    assert [one["state"] for one in bodies(receiver) if one["kind"] == "halted"][-1] == "ended"


def test_a_text_that_changes_is_no_new_notice_and_other_kinds_are_left_out(
    engine, receiver, tmp_path
):
    settings = Notifications(webhook=receiver.webhook, mail=None, kinds=("halted",))
    low = Notice(kind="low-sample", level="warn", text="few", channel="stable", manifest="b" * 64)
    later = Notice(kind="halted", level="bad", text="2 fail", channel="stable", manifest="a" * 64)
    once(tmp_path, engine, settings, seen(HALT, low), NOW)
    once(tmp_path, engine, settings, seen(later, low), NOW + 30)
    assert [one["text"] for one in bodies(receiver)] == ["a is halted"]


def test_failures_are_tried_again_after_growing_waits_and_then_given_up(
    engine, hook, receiver, tmp_path
):
    receiver.answers = [500]
    now, times = NOW, []
    for _ in range(2000):
        if once(tmp_path, engine, hook, seen(HALT), now):
            times.append(now - NOW)
        now += 30
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert waits == list(WAITS_S)
    (one,) = outbox.newest(engine, 9)
    assert (one.state, one.tries) == (FAILED, 1 + len(WAITS_S))
    assert one.error == "127.0.0.1 answered 500 Internal Server Error"
    ids = {headers["X-PocketRec-Delivery"] for _, headers, _ in receiver.received}
    assert len(receiver.received) == 6 and len(ids) == 1


def test_a_second_try_that_succeeds_ends_it_and_a_final_refusal_too(
    engine, hook, receiver, tmp_path
):
    receiver.answers = [503, 204]
    once(tmp_path, engine, hook, seen(HALT), NOW)
    assert [one.state for one in outbox.newest(engine, 9)] == [WAITING]
    once(tmp_path, engine, hook, seen(HALT), NOW + 60)
    assert [one.state for one in outbox.newest(engine, 9)] == [SENT]
    receiver.answers = [410]
    other = Notice(kind="failing", level="bad", text="b", channel="stable", manifest="b" * 64)
    for step in range(20):
        once(tmp_path, engine, hook, seen(HALT, other), NOW + 100 + 600 * step)
    assert len(receiver.received) == 3
    assert outbox.failed_since(engine, NOW) == 1


def test_workers_that_share_a_database_send_each_message_once(
    empty_url, engine, receiver, tmp_path
):
    hook = Notifications(webhook=receiver.webhook, mail=None)
    engines = [connect(empty_url) for _ in range(4)]
    begin = threading.Barrier(len(engines))

    def work(own):
        begin.wait()
        once(tmp_path, own, hook, seen(HALT), NOW)

    threads = [threading.Thread(target=work, args=(own,)) for own in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own in engines:
        own.dispose()
    assert [one["state"] for one in bodies(receiver)] == ["began"]


def test_a_transport_that_is_no_longer_configured_is_given_up(engine, both, post, tmp_path):
    outbox.observe(engine, [HALT], both, NOW)
    only_mail = Notifications(webhook=None, mail=post.mail)
    once(tmp_path, engine, only_mail, seen(HALT), NOW)
    assert {one.transport: one.state for one in outbox.newest(engine, 9)} == {
        "webhook": FAILED,
        "mail": SENT,
    }


def test_old_deliveries_are_forgotten(engine, hook, tmp_path):
    once(tmp_path, engine, hook, seen(HALT), NOW)
    once(tmp_path, engine, hook, seen(HALT), NOW + 91 * 86_400)
    assert outbox.newest(engine, 9) == []


def test_a_halt_on_a_running_server_reaches_the_webhook_and_the_mailbox(
    two_releases, tiny_repo, both, receiver, post, tmp_path
):
    engine = open_database(default_url(tiny_repo))
    stop = threading.Event()
    thread = watch(tiny_repo, engine, both, notices, stop, every_s=0.05)
    try:
        halt(tiny_repo, load_signers(tmp_path / "keys"), "stable", two_releases[0], "odd slates")
        end = time.monotonic() + 60
        while not (receiver.received and post.mails) and time.monotonic() < end:
            time.sleep(0.05)
    finally:
        stop.set()
        thread.join()
    (said,) = bodies(receiver)
    assert said["text"] == "second on stable is halted: odd slates"
    assert said["link"].endswith(f"/admin/releases/stable/{two_releases[0]}")
    assert b"second on stable is halted" in post.mails[0]


def test_a_bug_is_logged_with_its_traceback_and_the_thread_looks_again(
    engine, hook, receiver, tmp_path, caplog
):
    looks = itertools.count()

    def look(repo, engine, now):
        if next(looks) == 0:
            raise RuntimeError("odd notice")
        return (HALT,)

    stop = threading.Event()
    thread = watch(tmp_path, engine, hook, look, stop, every_s=0.02)
    try:
        end = time.monotonic() + 60
        while not receiver.received and thread.is_alive() and time.monotonic() < end:
            time.sleep(0.02)
    finally:
        stop.set()
        thread.join()
    assert [one["state"] for one in bodies(receiver)] == ["began"]
    (record,) = [one for one in caplog.records if one.exc_info]
    assert record.exc_info is not None and "odd notice" in str(record.exc_info[1])


def test_the_page_shows_settings_without_secrets_deliveries_and_sends_a_test(
    two_releases, tiny_repo, both, receiver, log_in, token_of
):
    engine = open_database(default_url(tiny_repo))
    app = create_app(Settings(repo=tiny_repo, log_requests=False, notifications=both))
    alice = log_in(app, token_of(engine)[0])
    page = alice.get("notifications")
    assert "oncall@example.org" in page and "http://127.0.0.1:" in page
    assert receiver.webhook.secret not in page and "team=1" not in page
    reply = alice.client.post("/admin/notifications/test", data={"csrf": alice.csrf()})
    assert (reply.status_code, reply.headers["Location"]) == (303, "/admin/notifications?tested=1")
    (noted,) = audit.entries(engine, 1)
    assert (noted.action, noted.actor, noted.outcome) == ("test notifications", "alice", "done")
    once(tiny_repo, engine, both, seen(), int(time.time()))
    assert [one["state"] for one in bodies(receiver)] == ["test"]
    page = alice.get("notifications")
    assert page.count("test: alice tests the notifications") == 2
    reader = log_in(app, token_of(engine, "read")[0])
    assert "Send a test" not in reader.get("notifications")
    sent = reader.client.post("/admin/notifications/test", data={"csrf": reader.csrf()})
    assert sent.status_code == 403


def test_failed_deliveries_need_attention_and_are_not_notified(alice, tiny_repo, hook, receiver):
    engine = open_database(default_url(tiny_repo))
    receiver.answers = [404]
    once(tiny_repo, engine, hook, seen(HALT), int(time.time()))
    said = "1 notifications of the last day were not delivered"
    assert [one.text for one in entries(tiny_repo, engine, time.time())] == [said]
    assert notices(tiny_repo, engine, time.time()) == []
    assert f'href="/admin/notifications">{said}' in alice.get("")
    reply = alice.client.post("/admin/notifications/test", data={"csrf": alice.csrf()})
    assert (reply.status_code, "--notifications FILE" in reply.text) == (409, True)
    assert "Nobody is notified" in alice.get("notifications")


def test_expiring_metadata_is_a_notice(tiny_repo):
    engine = open_database(default_url(tiny_repo))
    (soon,) = notices(tiny_repo, engine, time.time() + 6.5 * 86_400)
    assert (soon.kind, soon.level) == ("expiring", "warn")
    assert soon.text.startswith("Metadata expires soon: timestamp (")
    found = notices(tiny_repo, engine, time.time() + 26 * 86_400)
    assert [(one.kind, one.level) for one in found] == [("expiring", "bad"), ("expiring", "warn")]
    assert len({one.key for one in found}) == 2
