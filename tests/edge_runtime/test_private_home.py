"""Every file that a phone keeps is one that `private_home.py` knows and writes."""

import ast
from pathlib import Path

from pocketrec_edge import private_home

ROOM = Path(private_home.__file__).parent


def test_each_file_of_a_home_is_a_known_part_of_it():
    names = set()
    for path in ROOM.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FILE_NAME":
                names.add(ast.literal_eval(node.value))
    names.discard("popular.json")  # in the store, which is a part
    assert len(names) > 8
    assert names - set(private_home.PARTS) == set()


def test_no_file_of_a_home_is_written_with_the_mode_of_the_umask():
    writers = {
        path.name
        for path in ROOM.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "write_atomic"
    }
    assert writers == set()
