"""The text UI, driven by another process: through a pipe, as a script would, and a terminal."""

import os
import pty
import re
import select
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.support import command_line
from pocketrec.browse.session import Command, Session, changes, parse
from pocketrec_bundle.errors import InputError
from pocketrec_edge.device import Device
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, publish


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("l 3", Command("l", 3)),
        ("  l   3 \n", Command("l", 3)),
        ("b 12", Command("b", 12)),
        ("b 2 rating", Command("b", 2, "rating")),
        ("e 1", Command("e", 1)),
        ("q", Command("q")),
        ("", Command("h")),
    ],
)
def test_a_line_is_a_command(line, command):
    assert parse(line) == command


@pytest.mark.parametrize("line", ["l", "l x", "l -1", "l 3 4", "e 1 like", "n 2", "x", "l ²", "b"])
def test_other_lines_are_none(line):
    with pytest.raises(InputError, match="unknown command"):
        parse(line)


def test_changes_by_hand():
    assert changes(["a", "b", "c"], ["c", "d", "b"]) == [2, None, -1]


@given(st.permutations("abcdef"), st.permutations("cdefgh"))
@settings(deadline=None, max_examples=50)
def test_a_new_item_has_no_change_and_others_say_where_they_were(before, after):
    for place, (item, up) in enumerate(zip(after, changes(before, after), strict=True)):
        assert (up is None) == (item not in before)
        if up is not None:
            assert before[place + up] == item


@pytest.fixture
def home(tiny_release, tmp_path):
    phone = Device(tmp_path / "phone", engine="onnx")
    phone.install(tiny_release)
    phone.close()
    return tmp_path / "phone"


def argv(home, *words):
    given = ["device", "browse", "--home", home, "--engine", "onnx", *words]
    return [sys.executable, "-m", "pocketrec", *map(str, given)]


def piped(home, typed: str, *words) -> list[str]:
    """The screens that a script sees, one a command and the first."""
    done = subprocess.run(argv(home, *words), input=typed, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return re.split(r"^> .*\n", done.stdout, flags=re.MULTILINE)


def titles(screen: str) -> list[str]:
    return re.findall(r"^ *\d+ .*?(Title \d+)", screen, re.MULTILINE)


def test_a_like_is_logged_and_the_list_reacts_at_once(home):
    first, liked, again, _ = piped(home, "l 3\nl 1\nq\n")
    assert len(titles(first)) == 5
    assert "new" not in first
    assert f"like of {titles(first)[2]} is logged" in liked
    marks = dict(re.findall(r"^ +\d+ +(new|▲ \d|▼ \d|) +.*?(Title \d+)", liked, re.MULTILINE))
    assert "logged" in again
    fresh = set(titles(liked)) - set(titles(first))
    assert fresh == set(re.findall(r"^ +\d+ +new +.*?(Title \d+)", liked, re.MULTILINE)) != set()
    assert marks
    phone = Device(home, engine="onnx")
    status = phone.status()
    assert (status.plain()["interactions"], status.plain()["events"]) == (2, 2 + 3 * 6)


def test_pages_explanations_other_events_and_mistakes(home):
    typed = "n\ne 6\nb 7\nb 1 like\nb 1 cough\nl 99\nhello\ns\n"
    first, second, why, rated, liked, cough, far, hello, status = piped(home, typed)
    assert not set(titles(first)) & set(titles(second))
    assert re.search(r"^ +6 ", second, re.MULTILINE)
    assert "in one list of 10 items:" in why
    assert "brought by" in why and "retrieval" in why
    assert "rating of" in rated and "like of" in liked
    assert "no event 'cough': rating, like" in cough
    assert "the list has 1 to 5" in far
    assert "unknown command 'hello'" in hello
    assert re.search(r"interactions +2$", status, re.MULTILINE)
    for screen in (first, status):
        assert "MiB resident" in screen and "retrieve" in screen and "offline" in screen
    assert Device(home, engine="onnx").status().plain()["events"] == 2 + 4 * 6


def test_a_terminal_gets_a_prompt_and_a_fresh_screen(home):
    parent, child = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "90", "LINES": "40"}
    browser = subprocess.Popen(argv(home), stdin=child, stdout=child, stderr=child, env=env)
    os.close(child)

    def until_prompt() -> str:
        seen, end = "", time.monotonic() + 60
        while not seen.endswith("> ") and time.monotonic() < end:
            if select.select([parent], [], [], 1)[0]:
                seen += os.read(parent, 65_536).decode(errors="replace")
        return seen

    try:
        assert "offline" in until_prompt()
        os.write(parent, b"l 2\n")
        screen = until_prompt()
        assert "\x1b[H\x1b[2J" in screen or "\x1b[2J" in screen
        assert "is logged" in screen
        os.write(parent, b"\x04")  # end of file, as Ctrl-D types it
        assert browser.wait(timeout=60) == 0
    finally:
        browser.kill()
        browser.wait()
        os.close(parent)


@pytest.fixture
def served(tiny_release, tmp_path):
    make_keys(tmp_path / "keys")
    found_repository(tmp_path / "repo", load_signers(tmp_path / "keys"))
    publish(tiny_release, tmp_path / "repo", load_signers(tmp_path / "keys"), "stable")
    with command_line.server(tmp_path / "repo", tmp_path) as url:
        yield url, tmp_path / "repo" / "metadata" / "1.root.json"


def test_going_online_syncs_and_the_list_appears(served, tmp_path):
    url, root = served
    home = tmp_path / "new"
    words = ("--server", url, "--root", root)
    nothing, next_page, synced, offline, again = piped(home, "n\no\no\no\n", *words)
    assert "no release is installed" in nothing and "nothing to show" in nothing
    assert "no list: no release is installed" in next_page
    assert "updated: release" in synced and "online" in synced
    assert len(titles(synced)) == 5
    assert re.search(r"^offline$", offline, re.MULTILINE)
    assert "current: release" in again


def test_a_server_that_is_gone_leaves_the_phone_as_it_is(home, served):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    first, tried = piped(home, "o\n", "--server", url, "--root", served[1])
    assert "The release on this phone stays" in re.sub(r"\s+", " ", tried)
    assert titles(tried) == titles(first)
    assert "offline" in tried.splitlines()[0]
    both = argv(home, "--server", url, "--bundle", home)
    assert subprocess.run(both, stdin=subprocess.DEVNULL, capture_output=True).returncode == 2
    (_, alone) = piped(home, "o\n")
    assert "Start with --server" in alone


def test_the_browsing_process_has_no_sockets(home):
    code = (
        "import socket\nfrom pocketrec.cli import main\n"
        "main(args, standalone_mode=False)\nsocket.socket()"
    )
    script = f"args = {argv(home)[3:]!r}\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", script], input="q\n", capture_output=True, text=True
    )
    assert "OfflineError" in done.stderr.splitlines()[-1]


def test_the_list_compares_with_the_first_page_before(tiny_release, tmp_path):
    Device(tmp_path, engine="onnx").install(tiny_release)
    rng = np.random.default_rng(1)
    session = Session(lambda: Device(tmp_path, engine="onnx", rng=rng), None, 4)
    before = [item.item_id for item in session.items]
    for _ in range(2):
        session.do(Command("n"))
    assert len(session.items) == 12 and session.page_start == 8
    assert session.moved == []
    session.do(Command("l", 9))
    after = [item.item_id for item in session.items]
    assert session.moved == changes(before, after)
    assert session.do(Command("q")) is False
    session.close()
