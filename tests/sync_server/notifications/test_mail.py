"""E-mails through a real mail server on loopback: their content, and what is a failure."""

import base64
import email
import email.policy
from dataclasses import replace

import pytest

from pocketrec_server.errors import DeliveryFailedError
from pocketrec_server.notifications.mail import send
from pocketrec_server.notifications.message import ENDED, Notice, message

WORD = "hunter22"
NOTICE = Notice(
    kind="failing",
    level="good",
    text="spring: Größe\r\nBcc: x@example.org on stable fails",
    channel="stable",
    manifest="a" * 64,
)
MESSAGE = message(ENDED, NOTICE, 1_796_083_200, "https://rec.example.org/admin/")


def parsed(data):
    return email.message_from_bytes(data, policy=email.policy.default)


def test_a_mail_arrives_with_one_line_of_subject_and_a_link(post):
    send(post.mail, MESSAGE)
    (data,) = post.mails
    one = parsed(data)
    assert (
        one["Subject"] == "PocketRec: resolved: spring: Größe??Bcc: x@example.org on stable fails"
    )
    assert (one["From"], one["To"]) == (
        "pocketrec@example.org",
        "oncall@example.org, bob@example.org",
    )
    assert one["Bcc"] is None
    text = one.get_content()
    assert f"https://rec.example.org/admin/releases/stable/{'a' * 64}" in text
    assert "Channel: stable" in text
    recipients = [line for line in post.heard if line.upper().startswith("RCPT")]
    assert len(recipients) == 2


def test_a_user_logs_in(post):
    send(replace(post.mail, user="rec", password=WORD), MESSAGE)
    (line,) = [line for line in post.heard if line.startswith("AUTH")]
    assert base64.b64decode(line.split()[-1]) == b"\0rec\0hunter22"
    assert len(post.mails) == 1


@pytest.mark.parametrize(
    ("replies", "said", "final"),
    [
        ({"MAIL": "451 later"}, "451", False),
        ({"MAIL": "550 never"}, "550 never", True),
        ({"RCPT": "450 busy"}, "all recipients refused", False),
        ({"RCPT": "550 unknown"}, "all recipients refused", True),
        ({"DATA": "421 going down"}, "421", False),
        ({"AUTH": "535 wrong"}, "535 wrong", True),
    ],
)
def test_refusals_of_the_server_fail_and_say_whether_to_try_again(post, replies, said, final):
    post.replies = replies
    with pytest.raises(DeliveryFailedError, match=said) as caught:
        send(replace(post.mail, user="rec", password=WORD), MESSAGE)
    assert caught.value.final == final
    assert WORD not in str(caught.value)
    assert post.mails == []


def test_one_refused_recipient_is_said_and_the_others_are_not_mailed_twice(post):
    post.replies = {"rcpt TO:<bob@example.org>": "550 unknown"}
    with pytest.raises(DeliveryFailedError, match=r"refused for bob@example\.org") as caught:
        send(post.mail, MESSAGE)
    assert caught.value.final
    assert len(post.mails) == 1


def test_a_server_without_tls_gets_no_mail_and_no_password(post):
    secured = replace(post.mail, security="starttls", user="rec", password=WORD)
    with pytest.raises(DeliveryFailedError, match="STARTTLS"):
        send(secured, MESSAGE)
    assert not [line for line in post.heard if line.startswith("AUTH")] and post.mails == []
