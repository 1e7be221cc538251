"""The guide's six commands, in an empty folder with an empty home, print what the guide shows.

Figures and times differ between machines, so lines are compared by their first word.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")


def transcripts(repository: Path) -> list[tuple[list[str], list[str]]]:
    """Return the words of each command of the guide, and the lines below it."""
    text = (repository / "docs/bring-your-own-data.md").read_text()
    found = re.findall(r"^```console\n\$ (.+)\n((?:.*\n)*?)```$", text, re.MULTILINE)
    return [(shlex.split(command), shown.splitlines()) for command, shown in found]


def first_words(lines: list[str]) -> set[str]:
    """Return the first word of each line, but for progress bars."""
    return {line.split()[0] for line in lines if line.strip() and "━" not in line}


def test_no_transcript_leaves_lines_out(repository):
    for command, shown in transcripts(repository):
        assert len(shown) > 5, command
        assert not [line for line in shown if line.strip() in ("...", "…")]


def test_the_guide_leads_from_two_files_to_a_slate(repository, tmp_path):
    text = (repository / "docs/bring-your-own-data.md").read_text()
    (made,) = re.findall(r"^```python\n(.+?)^```$", text, re.MULTILINE | re.DOTALL)
    home, folder = tmp_path / "home", tmp_path / "empty"
    home.mkdir()
    folder.mkdir()
    places = [str(Path(place).resolve()) for place in sys.path if place]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "COLUMNS": "200",
        "PYTHONPATH": os.pathsep.join(places),
    }
    subprocess.run([sys.executable, "-c", made], cwd=folder, check=True)
    commands = transcripts(repository)
    assert len(commands) == 6
    for words, shown in commands:
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        printed = done.stdout.splitlines() + re.split(r"[\r\n]+", done.stderr)
        assert first_words(shown) <= first_words(printed), words
        assert first_words(done.stdout.splitlines()) <= first_words(shown), words
        if told := [line for line in shown if line.startswith("next: ")]:
            assert told[0] in printed
