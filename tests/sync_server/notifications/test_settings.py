"""The file of settings: what it may say, and that no secret is shown."""

import re

import pytest

from pocketrec.cli import main
from pocketrec_bundle.errors import InputError
from pocketrec_server.notifications.settings import (
    KINDS,
    PASSWORD,
    SECRET,
    Mail,
    Notifications,
    Webhook,
    read,
)
from pocketrec_server.settings import from_environment

SECRETS = {SECRET: "a-long-enough-secret", PASSWORD: "hunter22"}
HOOK = '[webhook]\nurl = "https://hooks.example.org/x"\n'
MAIL = (
    '[mail]\nhost = "smtp.example.org"\nsender = "a@example.org"\nrecipients = ["b@example.org"]\n'
)


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "notifications.toml"
        path.write_text(text)
        return path

    return write


def test_a_file_with_both_transports_is_read(written):
    text = 'site = "https://rec.example.org/admin"\nkinds = ["halted"]\n'
    found = read(written(f'{text}{HOOK}{MAIL}user = "rec"\nport = 2525\n'), SECRETS)
    assert found == Notifications(
        webhook=Webhook(url="https://hooks.example.org/x", secret=SECRETS[SECRET]),
        mail=Mail(
            host="smtp.example.org",
            port=2525,
            security="starttls",
            sender="a@example.org",
            recipients=("b@example.org",),
            user="rec",
            password=SECRETS[PASSWORD],
        ),
        kinds=("halted",),
        site="https://rec.example.org/admin/",
    )
    assert found.transports == ("webhook", "mail")
    assert "secret" not in repr(found).replace("secret=", "") and "hunter22" not in repr(found)


def test_defaults_are_all_kinds_and_the_port_of_the_security(written):
    for security, port in (("starttls", 587), ("tls", 465)):
        found = read(written(f'{MAIL}security = "{security}"\n'), {})
        assert found.mail is not None
        assert (found.kinds, found.webhook, found.mail.port) == (KINDS, None, port)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a table [webhook] or [mail]"),
        ("[webhook", "not TOML"),
        (f"colour = 1\n{HOOK}", "unknown key 'colour'"),
        (f"{HOOK}secret = 'x'\n", "unknown key 'secret'"),
        (f"kinds = []\n{HOOK}", "kinds: expected some of halted"),
        (f'kinds = ["all"]\n{HOOK}', "kinds: expected some of halted"),
        (f'site = "rec"\n{HOOK}', "expected an address such as"),
        ('[webhook]\nurl = "http://hooks.example.org/"', "expected https, or http on this machine"),
        ('[webhook]\nurl = "file:///etc/passwd"', "expected an address without a user name"),
        ('[webhook]\nurl = "https://me:pw@host/"', "expected an address without a user name"),
        ('[webhook]\nurl = "https://host:x/"', "Port"),
        ("[webhook]\nurl = 5", "url: expected a text"),
        ("webhook = 5", "webhook: expected a table"),
        ('[mail]\nhost = "h"\nsender = "a@b"\nrecipients = []', "1 to 20 addresses"),
        (MAIL.replace("b@example.org", "b@example.org\\nBcc: x@y"), "expected an address such as"),
        (MAIL.replace("a@example.org", "no one"), "expected an address such as"),
        (f'{MAIL}security = "none"', "for a mail server on this machine"),
        (f'{MAIL}security = "ssl"', "expected one of starttls"),
        (f"{MAIL}port = 0", "expected a number 1..65535"),
        (f"{MAIL}port = true", "expected a number 1..65535"),
        (f"# {'x' * 20_000}\n{MAIL}", "larger than"),
    ],
)
def test_bad_settings_name_the_file_and_what_is_expected(written, text, said):
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        read(written(text), SECRETS)
    assert "notifications.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "environ", "said"),
    [
        (HOOK, {}, SECRET),
        (HOOK, {SECRET: "short"}, "at least 16 characters"),
        (f'{MAIL}user = "rec"', {}, PASSWORD),
    ],
)
def test_a_missing_secret_names_its_variable(written, text, environ, said):
    with pytest.raises(InputError, match=said):
        read(written(text), environ)


def test_a_missing_file_and_a_bad_one_end_the_start(written, tmp_path, runner):
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "nothing.toml", {})
    path = written("[mail]\n")
    (tmp_path / "repo").mkdir()
    words = ["serve", "--repo", str(tmp_path / "repo"), "--port", "0", "--notifications", str(path)]
    done = runner.invoke(main, words)
    assert (done.exit_code, "host: expected a text" in done.output) == (2, True), done.output
    environ = {"POCKETREC_REPO": str(tmp_path / "repo"), "POCKETREC_NOTIFICATIONS": str(path)}
    with pytest.raises(InputError, match="host: expected a text"):
        from_environment(environ)
