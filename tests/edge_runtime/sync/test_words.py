"""Messages of a broken network: the reason in words, without a class name or control characters."""

import re
import socket
import ssl
import threading
from collections.abc import Callable

import pytest
import urllib3

from pocketrec.cli import main
from pocketrec_edge.errors import RequestInvalidError, SyncError
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.sync.client import sync
from pocketrec_edge.sync.hints import hints
from pocketrec_edge.sync.http import Network, Pace
from pocketrec_edge.sync.server_address import checked
from pocketrec_edge.sync.transfer import Retry
from pocketrec_edge.sync.uploads import events as sync_events
from pocketrec_edge.sync.words import plain, printable

QUICK = Pace(timeout_s=0.3)
INTERNAL = re.compile(r"\b[A-Z]\w*\(|Paced|0x[0-9a-f]{6}|Errno|_ssl|Error\b")


@pytest.fixture
def peer():
    """Return a function that starts a server which says some bytes, and gives its port."""
    listeners = []

    def start(said: bytes | None) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def answer() -> None:
            held = []
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                held.append(connection)
                connection.recv(65536)
                if said is not None:
                    connection.sendall(said)
                    connection.close()

        threading.Thread(target=answer, daemon=True).start()
        return listener.getsockname()[1]

    yield start
    for listener in listeners:
        listener.close()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def failure(url: str) -> str:
    with pytest.raises(urllib3.exceptions.HTTPError) as told:
        Network(QUICK).exchange("GET", url, {})
    return plain(told.value)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "the connection broke off (Remote end closed connection without response)"),
        (b"garbage\x1b[2J\r\n\r\n", "the connection broke off (garbage?[2J)"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
            "the connection broke off (3 bytes read, 6 more expected)",
        ),
        (None, "no answer in time"),
    ],
)
def test_what_a_server_does_wrong_is_said_in_words(peer, said, words):
    assert failure(f"http://127.0.0.1:{peer(said)}/") == words


def test_a_server_that_is_not_there(monkeypatch):
    assert failure(f"http://127.0.0.1:{closed_port()}/") == "no connection (Connection refused)"
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("no_proxy", "")
    told = failure("http://192.0.2.1/")
    assert told == "the proxy gives no connection (Connection refused)"


def test_tls_failures_name_the_reason(peer):
    assert failure(f"https://127.0.0.1:{peer(b'no TLS at all, plain text')}/").startswith(
        "TLS failed (wrong version number"
    )
    untrusted = ssl.SSLCertVerificationError(1, "[SSL: X] certificate verify failed")
    untrusted.verify_message = "self-signed certificate"
    assert plain(urllib3.exceptions.SSLError(untrusted)) == "TLS failed (self-signed certificate)"


@pytest.mark.parametrize("said", [b"", b"garbage\r\n\r\n", None])
def test_no_message_of_a_sync_names_a_class(peer, said, tmp_path):
    url = f"http://127.0.0.1:{closed_port() if said is None else peer(said)}"
    (tmp_path / "root.json").write_bytes(b"{}")
    once = Retry(tries=1)
    asked: dict[str, Callable[[], object]] = {
        "sync": lambda: sync(
            tmp_path / "phone",
            url,
            lambda _: None,
            root_path=tmp_path / "root.json",
            retry=once,
            pace=QUICK,
        ),
        "hints": lambda: next(hints(url, "stable", None, 0.3)),
    }
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "install_id").write_text("a" * 32)
    asked["erase"] = lambda: sync_events.erase_on_server(
        PhoneHome(tmp_path / "phone"), url, Network(QUICK)
    )
    for name, ask in asked.items():
        with pytest.raises(SyncError) as told:
            ask()
        assert not INTERNAL.search(str(told.value)), name
        assert url in str(told.value)


NO_ADDRESSES = (
    *("", "foo", "foo:80", "http://", "ftp://x", "file:///etc/passwd", "http://[bad"),
    *("http://a b", "http://127.0.0.1:99999", "http://x:y", "http://x?q", "http://x#f"),
    "http://x/\x1b[2J",
)


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_what_is_no_address_of_a_server_is_refused_at_once(address, tmp_path, runner):
    with pytest.raises(RequestInvalidError, match="is not the address of a server"):
        checked(address)
    home = tmp_path / "phone"
    with pytest.raises(RequestInvalidError):
        sync(home, address, lambda _: None)
    done = runner.invoke(main, ["device", "sync", "--home", str(home), "--server", address])
    assert done.exit_code == 2 and "http://127.0.0.1:8080" in done.stderr
    assert not home.exists()


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8080/", "https://rec.example/app", "http://[::1]:80"]
)
def test_an_address_loses_its_last_slash(address):
    assert checked(address) == address.rstrip("/")


def test_text_of_a_server_cannot_drive_a_terminal():
    assert printable("a\x1b]0;x\x07\n" + "b" * 300) == ("a?]0;x??" + "b" * 300)[:200]
