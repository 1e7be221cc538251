"""Imports go one way through the rooms, and the device pulls in almost nothing."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PLACES = {
    "pocketrec_bundle": "bundle/pocketrec_bundle",
    "pocketrec_training": "training/pocketrec_training",
    "pocketrec_export": "export/pocketrec_export",
    "pocketrec_edge": "edge_runtime/pocketrec_edge",
    "pocketrec_server": "sync_server/pocketrec_server",
    "pocketrec_experiments": "experiments/pocketrec_experiments",
    "pocketrec": "pocketrec",
    "benchmarks": "benchmarks",
}
ROOMS = tuple(PLACES)

# room -> rooms it may import (STYLE: "Who may import whom"); itself always.
ALLOWED = {
    "pocketrec_bundle": set(),
    "pocketrec_training": {"pocketrec_bundle"},
    "pocketrec_export": {"pocketrec_bundle", "pocketrec_training", "pocketrec_edge"},
    "pocketrec_edge": {"pocketrec_bundle"},
    "pocketrec_server": {"pocketrec_bundle", "pocketrec_experiments"},  # its statistics only
    "pocketrec_experiments": {"pocketrec_bundle"},
    "pocketrec": set(ROOMS),
    "benchmarks": set(ROOMS),
}

# room -> third-party modules; None: whatever its extra brings, less the room's own bans below.
THIRD_PARTY = {
    "pocketrec_bundle": {"numpy"},
    "pocketrec_edge": {"numpy"},
    "pocketrec_training": None,
    "pocketrec_export": None,
    "pocketrec_server": None,
    "pocketrec_experiments": None,
    "pocketrec": None,
    "benchmarks": None,
}

# device modules that may import one thing more than numpy.
DEVICE_EXTRA = {
    "litert_engine": {"ai_edge_litert", "tflite_runtime"},
    "onnx_engine": {"onnxruntime"},
}
SYNC_MODULES = {"tuf", "securesystemslib", "zstandard", "urllib3"}

SERVER_BANS = {"tensorflow", "keras", "pandas", "ibis", "ai_edge_litert", "onnxruntime"}
DEVICE_LOADS = {"numpy", "pocketrec_bundle", "pocketrec_edge"}


def imported(path: Path) -> Iterator[str]:
    """Top-level names of every import of a file, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield (node.module or "").partition(".")[0]


def files(repository: Path, room: str) -> list[Path]:
    return sorted((repository / PLACES[room]).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_only_the_rooms_it_may(repository: Path, room: str):
    allowed = ALLOWED[room] | {room}
    wrong = [
        f"{path.relative_to(repository)} imports {name}"
        for path in files(repository, room)
        for name in imported(path)
        if name in ROOMS and name not in allowed
    ]
    assert not wrong


@pytest.mark.parametrize("room", [room for room, names in THIRD_PARTY.items() if names])
def test_room_imports_only_the_libraries_it_may(repository: Path, room: str):
    libraries = THIRD_PARTY[room]
    assert libraries is not None
    wrong = []
    for path in files(repository, room):
        allowed = libraries | set(ROOMS) | sys.stdlib_module_names
        if room == "pocketrec_edge":
            allowed |= DEVICE_EXTRA.get(path.stem, set())
            allowed |= SYNC_MODULES if "sync" in path.parts else set()
        wrong += [
            f"{path.relative_to(repository)} imports {name}"
            for name in imported(path)
            if name not in allowed
        ]
    assert not wrong


def test_server_imports_no_training_library(repository: Path):
    for path in files(repository, "pocketrec_server"):
        assert not SERVER_BANS & set(imported(path)), path


def test_nobody_imports_tests(repository: Path):
    for room in ROOMS:
        for path in files(repository, room):
            assert "tests" not in set(imported(path)), path


def test_import_linter_contracts_hold(repository: Path):
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache"], cwd=repository, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def loaded(repository: Path, statement: str) -> set[str]:
    """Top-level modules in a fresh process after `statement`, less the standard library."""
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    names = set(done.stdout.split()) - sys.stdlib_module_names
    return {name for name in names if not name.startswith("_")} - {"sitecustomize", "usercustomize"}


def test_importing_the_device_loads_numpy_and_the_bundle_only(repository: Path):
    assert loaded(repository, "import pocketrec_edge.device") <= DEVICE_LOADS


def test_importing_the_sync_client_loads_no_signer_and_no_cloud_sdk(repository: Path):
    code = (
        "import sys, pocketrec_edge.sync.client, pocketrec_edge.sync.watch;"
        "assert 'tuf.api.exceptions' in sys.modules;"
        "print(*(name for name in sys.modules if name.startswith('securesystemslib.signer')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
    names = loaded(repository, "import pocketrec_edge.sync.client")
    assert names <= DEVICE_LOADS | {"tuf", "securesystemslib", "urllib3", "backports"}


@pytest.mark.parametrize("module", ["export", "stats", "routes"])
def test_importing_the_servers_events_loads_no_pyarrow(repository: Path, module: str):
    assert "pyarrow" not in loaded(repository, f"import pocketrec_server.events.{module}")


def test_importing_the_command_line_loads_no_room_but_errors(repository: Path):
    names = loaded(repository, "import pocketrec.cli")
    assert names <= {"pocketrec", "click", "pocketrec_bundle", "numpy"}


def test_the_server_imports_only_the_statistics_of_experiments(repository: Path):
    for path in files(repository, "pocketrec_server"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and "experiments" in (node.module or ""):
                name = node.module or ""
                ours = name.partition(".")[0] != "pocketrec_experiments"
                assert ours or name.startswith("pocketrec_experiments.statistics"), (path, name)


def test_importing_the_statistics_of_experiments_loads_numpy_only(repository: Path):
    names = loaded(repository, "import pocketrec_experiments.statistics")
    assert names <= {"numpy", "pocketrec_bundle", "pocketrec_experiments"}
