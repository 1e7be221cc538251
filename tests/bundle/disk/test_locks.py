import math
import os
import subprocess
import sys

import pytest

from pocketrec_bundle.disk.locks import LockedFile

HOLDER = """
import sys
from pathlib import Path
from pocketrec_bundle.disk.locks import LockedFile
with LockedFile(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path, repository):
    words = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(
        words, cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        yield child
        child.kill()


def test_a_second_holder_is_refused_until_the_first_closes(tmp_path):
    with LockedFile(tmp_path / "lock"), pytest.raises(BlockingIOError, match="another process"):
        LockedFile(tmp_path / "lock")
    LockedFile(tmp_path / "lock").close()


def test_a_killed_holder_frees_the_lock(tmp_path, holder):
    with pytest.raises(BlockingIOError):
        LockedFile(tmp_path / "lock")
    holder.kill()
    LockedFile(tmp_path / "lock", wait_s=math.inf).close()


def test_a_waiting_holder_gets_its_turn(tmp_path, holder):
    holder.stdin.close()
    LockedFile(tmp_path / "lock", wait_s=60).close()


def test_content_stays_and_only_the_owner_may_open_it(tmp_path):
    (tmp_path / "old").write_bytes(b"kept")
    with LockedFile(tmp_path / "old") as locked:
        assert locked.read() == b"kept"
    LockedFile(tmp_path / "new").close()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("own_check", [False, True])
def test_a_symbolic_link_is_not_followed(tmp_path, monkeypatch, own_check):
    """`own_check`: a system that has no O_NOFOLLOW."""
    if own_check:
        monkeypatch.setattr("pocketrec_bundle.disk.locks._NOFOLLOW", 0)
    (tmp_path / "target").write_bytes(b"kept")
    (tmp_path / "lock").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic link"):
        LockedFile(tmp_path / "lock")
    assert (tmp_path / "target").read_bytes() == b"kept"


def test_a_folder_and_a_pipe_are_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(OSError, match=name):
            LockedFile(tmp_path / name)
