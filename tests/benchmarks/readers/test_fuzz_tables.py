"""The small twin of `fuzz-tables`: 300 damaged tables; and which refusals count as faults."""

import pytest

pytest.importorskip("rich", reason="needs the train extra")
from benchmarks.harness import Options
from benchmarks.readers import fuzz_tables
from benchmarks.support.table_mutations import FORMS, TableCase
from pocketrec_training.errors import TableInvalidError


def test_damaged_tables_are_read_or_refused(tmp_path):
    found = fuzz_tables.run(Options(work=tmp_path), cases=300)
    assert found.figures["tracebacks"] == 0
    assert found.figures["cases"] == found.figures["read"] + found.figures["refused"] >= 300
    assert min(found.figures["read"], found.figures["refused"]) > 30
    assert [row["form"] for row in found.rows] == list(FORMS)


def case(content: bytes) -> TableCase:
    return TableCase("csv", (), "i.csv", content, {}, 100)


def test_a_sound_table_is_read(tmp_path):
    sound = case(b"user,item,ts\na,x,1600000000\nb,y,1600000001\n")
    assert fuzz_tables.judge(sound, tmp_path) == ("read", "")
    assert fuzz_tables.judge(sound, tmp_path, build=True) == ("read", "")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (TableInvalidError("i.csv: is empty."), "refused"),
        (TableInvalidError(""), "traceback"),
        (TableInvalidError("line\n" * 20), "traceback"),
        (TableInvalidError("x" * 5_000), "traceback"),
        (TableInvalidError("\x1b[2J"), "traceback"),
        (KeyError("x"), "traceback"),
        (MemoryError(), "traceback"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_only_a_refusal_that_helps_is_one(tmp_path, monkeypatch, error, outcome):
    def fail(*_):
        raise error

    monkeypatch.setattr(fuzz_tables, "read_table", fail)
    assert fuzz_tables.judge(case(b""), tmp_path)[0] == outcome
