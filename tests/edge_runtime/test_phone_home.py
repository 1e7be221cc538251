"""Every file that a phone keeps is one that `PhoneHome` names, and its owner's only."""

import ast
import doctest
import os
import stat
from pathlib import Path

import pytest

from pocketrec_bundle.disk.locks import POSIX
from pocketrec_edge import phone_home
from pocketrec_edge.device import Device
from pocketrec_edge.phone_home import PhoneHome

ROOM = Path(phone_home.__file__).parent


def test_each_path_of_a_home_is_one_of_its_parts_and_lies_in_its_folder(tmp_path):
    home = PhoneHome(tmp_path)
    names = [name for name, value in vars(PhoneHome).items() if isinstance(value, property)]
    assert len(names) > 12
    assert sorted(getattr(home, name) for name in names) == sorted(home.parts())
    assert {part.parent for part in home.parts()} == {tmp_path}


def test_nobody_else_spells_the_name_of_a_file_of_a_home(tmp_path):
    names = {part.name for part in PhoneHome(tmp_path).parts()}
    names -= {"store", "trial", "self_test", "policy.json", "install_id"}  # words, and other files
    spelt = {
        (path.name, node.value)
        for path in ROOM.rglob("*.py")
        if path.name != "phone_home.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    }
    assert {(file, name) for file, name in spelt if name not in ("interests", "bucket_id")} == set()


def test_all_that_a_phone_makes_is_a_part_of_its_home(tiny_release, tmp_path):
    with Device(tmp_path, engine="onnx") as device:
        device.install(tiny_release)
        device.recommend(3, page=1)
        device.set_interests(["drama"])
        device.feedback("item 1", "like")
        names = {part.name for part in PhoneHome(tmp_path).parts()}
        made = {path.name.removesuffix("-wal").removesuffix("-shm") for path in tmp_path.iterdir()}
    assert made and made <= names


def test_no_file_of_a_home_is_written_with_the_mode_of_the_umask():
    writers = {
        path.name
        for path in ROOM.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "write_atomic"
    }
    assert writers == set()


@pytest.mark.skipif(not POSIX, reason="modes of POSIX")
def test_files_of_others_in_the_folder_keep_their_mode(tmp_path):
    home = PhoneHome(tmp_path / "phone")
    home.make()
    for name in ("events.sqlite", "events.sqlite-wal", "notes.txt"):
        path = home.folder / name
        path.write_bytes(b"")
        os.chmod(path, 0o644)  # noqa: PTH101 (as the system call has it)
    home.tighten()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.folder.iterdir()}
    assert modes == {"events.sqlite": 0o600, "events.sqlite-wal": 0o600, "notes.txt": 0o644}


def test_a_home_is_made_of_a_path_or_is_one_already(tmp_path):
    home = PhoneHome.of(tmp_path)
    assert PhoneHome.of(home) is home
    assert (str(home), home.exists()) == (str(tmp_path), False)
    home.event_log.write_bytes(b"")
    assert home.exists()


def test_the_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(phone_home).failed == 0
