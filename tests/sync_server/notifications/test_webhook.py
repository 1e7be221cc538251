"""Webhooks over a real connection: their signature, and what is a failure."""

import hashlib
import hmac
import json
import socket

import pytest

from pocketrec_server.errors import DeliveryFailedError
from pocketrec_server.notifications.message import BEGAN, Notice, message
from pocketrec_server.notifications.settings import Webhook
from pocketrec_server.notifications.webhook import send

NOTICE = Notice(
    kind="halted",
    level="bad",
    text="spring on stable is halted: crashes",
    channel="stable",
    manifest="a" * 64,
)
MESSAGE = message(BEGAN, NOTICE, 1_796_083_200, "https://rec.example.org/admin/")


def test_a_message_arrives_once_with_a_signature_that_the_receiver_checks(receiver):
    send(receiver.webhook, MESSAGE, 1_796_083_300)
    ((path, headers, body),) = receiver.received
    assert path == "/hook?team=1"
    value = json.loads(body)
    assert value == {
        "format": 1,
        "id": MESSAGE.id,
        "state": "began",
        "at_utc": 1_796_083_200,
        "kind": "halted",
        "level": "bad",
        "text": "spring on stable is halted: crashes",
        "channel": "stable",
        "manifest": "a" * 64,
        "link": f"https://rec.example.org/admin/releases/stable/{'a' * 64}",
    }
    assert (headers["Content-Type"], headers["X-PocketRec-Delivery"]) == (
        "application/json",
        MESSAGE.id,
    )
    sent_utc, _, proof = headers["X-PocketRec-Signature"].removeprefix("t=").partition(",v1=")
    assert sent_utc == "1796083300"
    key = receiver.webhook.secret.encode()
    expected = hmac.new(key, sent_utc.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(proof, expected)
    other = hmac.new(b"other", sent_utc.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert proof != other


@pytest.mark.parametrize(
    ("status", "final"),
    [(500, False), (503, False), (429, False), (408, False), (404, True), (410, True), (302, True)],
)
def test_other_statuses_fail_and_say_whether_to_try_again(receiver, status, final):
    receiver.answers = [status]
    with pytest.raises(DeliveryFailedError, match=f"127.0.0.1 answered {status}") as caught:
        send(receiver.webhook, MESSAGE, 1)
    assert caught.value.final == final
    assert len(receiver.received) == 1  # a redirect is not followed


def test_no_answer_and_no_connection_fail_and_can_be_tried_again(receiver):
    receiver.answers = [None]
    with pytest.raises(DeliveryFailedError, match="timed out") as caught:
        send(receiver.webhook, MESSAGE, 1, timeout_s=0.2)
    assert not caught.value.final
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(DeliveryFailedError, match="refused") as caught:
        send(Webhook(url=f"http://127.0.0.1:{port}/", secret="x" * 16), MESSAGE, 1)
    assert not caught.value.final


@pytest.mark.parametrize("host", ["hooks..example.org", f"{'a' * 64}.example.org"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_host_that_no_request_can_have_fails_for_good(scheme, host):
    with pytest.raises(DeliveryFailedError, match=r"example\.org: ") as caught:
        send(Webhook(url=f"{scheme}://{host}/", secret="x" * 16), MESSAGE, 1)
    assert caught.value.final


def test_an_answer_that_is_not_http_is_a_failure():
    with socket.create_server(("127.0.0.1", 0)) as noise:
        url = f"http://127.0.0.1:{noise.getsockname()[1]}/"
        client = Webhook(url=url.replace("http:", "https:"), secret="x" * 16)
        with pytest.raises(DeliveryFailedError):  # no TLS behind it
            send(client, MESSAGE, 1, timeout_s=0.2)
