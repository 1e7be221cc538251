import sys

import pytest

from benchmarks.support.demo import demo_table


@pytest.mark.parametrize(("note", "expected"), [("41\n", 41.0), (None, None), ("", None)])
def test_seconds_of_setup_are_those_that_make_noted_or_absent(
    tmp_path, monkeypatch, note, expected
):
    """An environment made by hand, or whose set-up was cut off, has no figure rather than 0."""
    if note is not None:
        (tmp_path / "setup_s").write_text(note)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert demo_table.seconds_of_setup() == expected


def test_make_notes_the_seconds_where_the_table_looks(repository):
    """`make demo` depends on `setup`, which notes the seconds in the environment it made."""
    text = (repository / "Makefile").read_text()
    assert "> .venv/setup_s" in text
    assert "\ndemo: setup\n" in text
