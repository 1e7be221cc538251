"""Each kind of damage, seen by a client that compares the bytes."""

import http.client
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import numpy as np
import pytest

from benchmarks.support.network.fault_proxy import KINDS, FaultProxy, Faults

BODY = np.random.default_rng(1).bytes(5000)
PIECES = [BODY[at : at + 1024] for at in range(0, 5000, 1024)]
OTHER = b"another file"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Address of a server of two files."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "body").write_bytes(BODY)
    (folder / "other").write_bytes(OTHER)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def ask(proxy, path="/body"):
    """(status, headers, body as far as it came, whether it broke off)."""
    connection = http.client.HTTPConnection(urlsplit(proxy.url).netloc, timeout=10)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        try:
            return reply.status, reply.headers, reply.read(), False
        except http.client.IncompleteRead as err:
            return reply.status, reply.headers, err.partial, True
    finally:
        connection.close()


def harmed(server, kind, seed=1, **settings):
    with FaultProxy(server, seed, Faults(share=1.0, kinds=(kind,), **settings)) as proxy:
        found = ask(proxy)
        assert proxy.done == {kind: 1}
        return found, proxy.body_bytes


def test_sound_answers_pass_as_they_are(server):
    with FaultProxy(server, 1, Faults(share=0.0)) as proxy:
        assert ask(proxy)[::2] == (200, BODY)
        assert ask(proxy, "/nothing")[0] == 404
        assert proxy.done == {"none": 2}
        assert len(BODY) < proxy.body_bytes < 2 * len(BODY)


def test_a_share_of_the_answers_is_harmed_by_all_kinds_in_turn(server):
    with FaultProxy(server, 2, Faults(share=0.25, drip_s=0.0, endless_bytes=0)) as proxy:
        for _ in range(200):
            try:
                ask(proxy, "/other")
            except (OSError, http.client.HTTPException):
                continue
        harm = 200 - proxy.done["none"]
        assert set(proxy.done) <= {"none", *KINDS}
    assert 30 < harm < 70
    assert len(proxy.done) > 8


def test_flip_changes_a_few_bits(server):
    (status, _, body, broke), _ = harmed(server, "flip")
    differ = np.frombuffer(body, np.uint8) ^ np.frombuffer(BODY, np.uint8)
    assert (status, broke) == (200, False)
    assert 1 <= np.unpackbits(differ).sum() <= 3


def test_reorder_keeps_the_pieces(server):
    (_, _, body, _), _ = harmed(server, "reorder")
    assert body != BODY
    assert len(body) == len(BODY)
    assert all(piece in body for piece in PIECES)


def test_duplicate_says_a_piece_twice(server):
    (_, headers, body, broke), _ = harmed(server, "duplicate")
    assert sorted(body.count(piece) for piece in PIECES) == [1, 1, 1, 1, 2]
    assert len(body) == int(headers["Content-Length"])
    assert not broke


@pytest.mark.parametrize(("kind", "breaks"), [("truncate", True), ("shorten", False)])
def test_a_part_comes_as_a_broken_answer_or_as_a_whole_one(server, kind, breaks):
    (_, headers, body, broke), sent = harmed(server, kind)
    assert BODY.startswith(body)
    assert sent == len(body) < len(BODY)
    assert broke == breaks
    assert int(headers["Content-Length"]) == (len(BODY) if breaks else len(body))


def test_other_is_the_answer_before(server):
    with FaultProxy(server, 1, Faults(share=1.0, kinds=("other",))) as proxy:
        assert ask(proxy, "/other")[2] == OTHER  # the first answer
        assert ask(proxy)[2] == OTHER
        assert ask(proxy)[2] == BODY


def test_the_connection_ends_before_or_after_the_headers(server):
    with pytest.raises(http.client.RemoteDisconnected):
        harmed(server, "drop")
    (status, _, body, broke), _ = harmed(server, "headers only")
    assert (status, body, broke) == (200, b"", True)


def test_endless_goes_on_after_the_body(server):
    (_, headers, body, _), sent = harmed(server, "endless", endless_bytes=4096)
    assert body[: len(BODY)] == BODY
    assert len(body) == sent == len(BODY) + 4096
    assert headers["Content-Length"] is None


@pytest.mark.parametrize(("kind", "statuses"), [("error", {500, 502, 503}), ("busy", {429})])
def test_an_answer_that_is_none(server, kind, statuses):
    (status, headers, body, _), _ = harmed(server, kind, retry_after_s=7)
    assert status in statuses
    assert body == b""
    assert headers.get("Retry-After") == ("7" if kind == "busy" else None)
