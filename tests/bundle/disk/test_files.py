import contextlib
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pocketrec_bundle.disk import files
from pocketrec_bundle.disk.files import (
    canonical_json,
    replace_dir,
    restore_dir,
    sha256_file,
    write_atomic,
    write_atomic_parts,
)
from pocketrec_bundle.errors import PocketRecError


def test_canonical_json_does_not_depend_on_key_order():
    assert canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))


def test_sha256_of_a_known_text(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_parts_become_a_whole_file_or_none(tmp_path):
    path = tmp_path / "x"
    write_atomic_parts(path, (b"%d" % n for n in range(4)), mode=0o600)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"0123", 0o600)
    with pytest.raises(ZeroDivisionError):
        write_atomic_parts(path, (b"%d" % (1 // n) for n in (1, 0)))
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert path.read_bytes() == b"0123"


def test_restore_dir_puts_the_old_folder_back_only_where_none_is(tmp_path):
    final, aside = tmp_path / "final", tmp_path / ".final.old"
    restore_dir(final)
    assert not final.exists()
    aside.mkdir()
    (aside / "f").write_text("1")
    restore_dir(final)
    assert (final / "f").read_text() == "1"
    aside.mkdir()
    restore_dir(final)
    assert (final / "f").exists()


def test_replace_dir_swaps_whole_folders(tmp_path):
    for name, text in (("new", "2"), ("final", "1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(text)
    replace_dir(tmp_path / "new", tmp_path / "final")
    assert [p.name for p in tmp_path.iterdir()] == ["final"]
    assert (tmp_path / "final" / "f").read_text() == "2"


@pytest.mark.parametrize("swaps", [True, False])
def test_a_swap_of_folders_survives_a_kill_between_two_renames(tmp_path, monkeypatch, swaps):
    """`swaps` False: a file system that cannot exchange two names."""
    if not swaps:
        monkeypatch.setattr(files, "_swap", lambda one, two: False)
    for name, text in (("new", "2"), ("final", "1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(text)

    class Killed(BaseException):
        pass

    plain, left = Path.replace, [1]

    def replace(self, target):
        if not left.pop():
            raise Killed
        left.append(0)
        return plain(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    if swaps:
        replace_dir(tmp_path / "new", tmp_path / "final")
    else:
        with pytest.raises(Killed):
            replace_dir(tmp_path / "new", tmp_path / "final")
        assert not (tmp_path / "final").exists()
        monkeypatch.setattr(Path, "replace", plain)
        files.restore_dir(tmp_path / "final")
        assert (tmp_path / "final" / "f").read_text() == "1"
        replace_dir(tmp_path / "new", tmp_path / "final")
    assert [p.name for p in tmp_path.iterdir()] == ["final"]
    assert (tmp_path / "final" / "f").read_text() == "2"


WRITER = """
import sys
from pathlib import Path
from pocketrec_bundle.disk.files import write_atomic
for n in range(200):
    write_atomic(Path(sys.argv[1]), sys.argv[2].encode() * 10_000)
"""


def test_writers_of_one_file_take_turns(tmp_path):
    words = [sys.executable, "-c", WRITER, str(tmp_path / "x")]
    children = [subprocess.Popen([*words, letter]) for letter in "ab"]
    while any(child.poll() is None for child in children):
        with contextlib.suppress(FileNotFoundError):
            assert (tmp_path / "x").read_bytes() in (b"a" * 10_000, b"b" * 10_000)
    assert [child.returncode for child in children] == [0, 0]
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_what_a_killed_writer_left_is_taken_over(tmp_path):
    (tmp_path / ".x.partial").write_bytes(b"torn, and longer than the next")
    write_atomic(tmp_path / "x", b"whole")
    assert (tmp_path / "x").read_bytes() == b"whole"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_file_too_large_for_the_disk_leaves_the_old_content(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    code = (
        "import sys; from pathlib import Path\n"
        "from pocketrec_bundle.disk.files import write_atomic\n"
        "from pocketrec_bundle.errors import PocketRecError\n"
        "try: write_atomic(Path(sys.argv[1]), b'n' * 5000)\n"
        "except PocketRecError as err: print(err); sys.exit(1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=False,
    )
    assert done.returncode == 1
    assert "no space left" in done.stdout
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PocketRecError, match="file"):
        write_atomic(tmp_path / "file" / "x", b"1")
