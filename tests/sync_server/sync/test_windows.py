"""The device's rooms on a Python without POSIX; Windows itself was not at hand."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from pocketrec_bundle.errors import InputError
from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, publish
from pocketrec_server.repository.roles import check_channel

HERE = Path(__file__).parent


ROOT = HERE.parents[2]
PATH = os.pathsep.join([str(ROOT / "tests" / "windows"), *sys.path])
ENVIRONMENT = os.environ | {"PYTHONPATH": PATH, "PYTHONWARNDEFAULTENCODING": "1"}
DEVICE_COMMANDS = sorted((ROOT / "pocketrec" / "commands" / "device").glob("*.py"))


@pytest.fixture
def on_windows():
    """Return a function that runs Python as on Windows: its exit code, stdout and stderr."""

    def run(*words, **more):
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            env=ENVIRONMENT | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def start_on_windows():
    """Return a function that starts such a Python; the test ends it."""
    with ExitStack() as children:

        def start(*words, **more):
            command = [sys.executable, *map(str, words)]
            child = subprocess.Popen(
                command, env=ENVIRONMENT, stdout=subprocess.PIPE, encoding="utf-8", **more
            )
            children.enter_context(child)
            children.callback(child.kill)
            return child

        yield start


@pytest.fixture
def releases(tiny_release, tmp_path):
    """Three releases whose vectors differ."""
    for n, name in enumerate(("second", "third"), 1):
        write_tiny_bundle(tmp_path / name, answers=True, name=name, changed=n)
    return tiny_release, tmp_path / "second", tmp_path / "third"


def test_a_phone_installs_answers_and_syncs_without_posix(
    on_windows, releases, start_server, tmp_path
):
    make_keys(tmp_path / "keys")
    found_repository(tmp_path / "repo", load_signers(tmp_path / "keys"))
    publish(releases[1], tmp_path / "repo", load_signers(tmp_path / "keys"), "stable")
    url, _ = start_server(tmp_path / "repo")
    root = tmp_path / "repo" / "metadata" / "1.root.json"
    code, _, said = on_windows(HERE / "windows_child.py", *releases, url, root, tmp_path / "phone")
    assert code == 0, said


REFUSED = {
    "fcntl": "import fcntl",
    "resource": "import resource",
    "symbolic link": "os.symlink(here / 'a', here / 'b')",
    "open folder": "os.open(here, os.O_RDONLY)",
    "fsync of a reader": "os.fsync((here / 'a').open('rb').fileno())",
    "rename of an open file": "f = (here / 'a').open('rb'); (here / 'a').replace(here / 'b')",
    "rename over a file": "(here / 'a').rename(here / 'c')",
    "rename over an open file": "f = (here / 'c').open('rb'); (here / 'a').replace(here / 'c')",
    "removal of a mapped file": (
        "s = (here / 'a').open('rb'); m = mmap.mmap(s.fileno(), 0, access=mmap.ACCESS_READ); "
        "s.close(); (here / 'a').unlink()"
    ),
    "reserved name": "(here / 'con.json').write_bytes(b'')",
    "fork": "os.fork()",
    "SIGKILL": "signal.SIGKILL",
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_simulation_refuses_what_windows_refuses(on_windows, tmp_path, name):
    for letter in "ac":
        (tmp_path / letter).write_bytes(b"content")
    code, _, said = on_windows(
        "-c",
        "import mmap, os, signal, sys; from pathlib import Path; here = Path(sys.argv[1])\n"
        f"{REFUSED[name]}",
        tmp_path,
    )
    assert code == 1
    assert said.splitlines()[-1].startswith(
        ("ModuleNotFoundError", "AttributeError", "OSError", "PermissionError", "FileExistsError")
    )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "c").read_bytes() == b"content"


def test_every_module_of_the_device_loads_without_posix(on_windows, repository):
    names = [
        ".".join(path.relative_to(repository / room).with_suffix("").parts)
        for room in ("bundle", "edge_runtime")
        for path in sorted((repository / room).rglob("*.py"))
        if path.stem not in ("__init__", "__main__", "child")
    ]
    names += [f"pocketrec.commands.device.{path.stem}" for path in DEVICE_COMMANDS]
    code, _, said = on_windows("-c", "\n".join(f"import {name}" for name in names))
    assert code == 0, said
    assert len(names) > 90


WRITER = """
import sys
from pathlib import Path
from pocketrec_bundle.disk.files import write_atomic
for n in range(20):
    write_atomic(Path(sys.argv[1]), sys.argv[2].encode() * 10_000)
"""


def test_writers_of_one_file_take_turns_without_posix(tmp_path, start_on_windows):
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "x"
    children = [start_on_windows("-c", WRITER, path, letter) for letter in "abc"]
    assert [child.wait() for child in children] == [0, 0, 0]
    assert path.read_bytes() in [letter * 10_000 for letter in (b"a", b"b", b"c")]
    assert [each.name for each in path.parent.iterdir()] == ["x"]


def test_a_lock_excludes_other_processes_without_posix(tmp_path, start_on_windows, on_windows):
    code = (
        "import sys; from pathlib import Path; from pocketrec_bundle.disk.locks import LockedFile\n"
        "held = LockedFile(Path(sys.argv[1])); print(flush=True); sys.stdin.read()"
    )
    child = start_on_windows("-c", code, tmp_path / "lock", stdin=subprocess.PIPE)
    child.stdout.readline()
    status, _, said = on_windows("-c", code, tmp_path / "lock")
    assert (status, "BlockingIOError" in said) == (1, True)
    child.stdin.close()
    child.wait()
    assert on_windows("-c", code, tmp_path / "lock")[0] == 0


def test_a_name_that_the_console_lacks_letters_for_is_still_printed(
    on_windows, tiny_release, tmp_path
):
    words = ["-m", "pocketrec", "device"]
    home = ["--home", tmp_path / "phone"]
    assert on_windows(*words, "install", *home, "--engine", "onnx", tiny_release)[0] == 0
    code, out, said = on_windows(*words, "feedback", *home, "é-0", PYTHONIOENCODING="cp1251")
    assert (code, out.strip()) == (0, r"logged like of \xe9-0"), said


@pytest.mark.parametrize("name", ["con", "nul", "com1", "lpt9"])
def test_a_channel_named_as_a_device_of_windows_is_refused(name):
    with pytest.raises(InputError, match="Windows reserves"):
        check_channel(name)
