import sys

import pytest

from pocketrec import late_bar


@pytest.mark.parametrize(("terminal", "after_s", "shown"), [(1, 0, 1), (1, 60, 0), (0, 0, 0)])
def test_a_bar_is_shown_on_a_terminal_once_work_is_long(
    capsys, monkeypatch, terminal, after_s, shown
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: bool(terminal))
    monkeypatch.setattr(late_bar, "AFTER_S", after_s)
    with late_bar.LateBar("deltas") as bar:
        bar.show(1, 4, "index/rows")
    told = capsys.readouterr()
    assert told.out == ""
    assert ("#####---------------] 1/4 index/rows" in told.err) == shown
    assert told.err.endswith("\n") == shown
