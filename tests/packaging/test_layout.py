"""The layout: a reader takes in a folder at one glance."""

import subprocess
from collections import defaultdict
from pathlib import Path, PurePosixPath

import pytest

MOST = 20
PLUMBING = {"__init__.py", "__main__.py", "conf.py", "conftest.py", "errors.py", "py.typed"}
# Tools or most folders have these names.
# Folders of many files of one kind, which nobody reads in order.
LISTS = (
    "benchmarks/results",  # a file for each benchmark, written by it
    "docs/decisions",  # numbered, with an index; a decision is never deleted
    "tests/bundle/data",  # kept bundles, as the writer of their time wrote them
    "tests/fixtures",  # what an old version left on disks
)


def test_no_folder_shows_more_than_20_entries(repository: Path):
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=repository,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip("not a checkout: what belongs to the repository is unknown")
    shown: dict[str, set[str]] = defaultdict(set)
    for name in done.stdout.splitlines():
        path = PurePosixPath(name)
        for entry, parent in zip((path, *path.parents), path.parents, strict=False):
            shown[str(parent)].add(entry.name)
    crowded = {}
    for folder, entries in shown.items():
        read = [one for one in entries - PLUMBING if not one.startswith(".")]
        if len(read) > MOST and not any(PurePosixPath(folder).is_relative_to(of) for of in LISTS):
            crowded[folder] = len(read)
    assert crowded == {}
