"""Excel workbooks: the first sheet with cells; whole numbers have no ".0"."""

import pytest

from pocketrec_training.errors import TableInvalidError

pytest.importorskip("python_calamine", reason="needs the train extra")


def test_a_sheet_is_read_with_its_row_numbers(read, make_workbook):
    rows = [["who", "what", None], ["a & b", 12, 1.5], [None, None, None], ["c", 44000.0, 7]]
    found = read(make_workbook(rows), "i.xlsx")
    assert found.names == ("who", "what", "3")
    assert found.rows == [("a & b", "12", "1.5"), ("c", "44000", "7")]
    assert found.lines == [2, 4]


def test_a_sheet_without_header_has_numbered_columns(read, make_workbook):
    found = read(make_workbook([["a", 1], ["b", 2]]), "i.xlsx", header=False)
    assert (found.names, found.rows) == (("1", "2"), [("a", "1"), ("b", "2")])


@pytest.mark.parametrize("damage", ["cut off", "no sheet", "empty"])
def test_a_damaged_workbook_is_refused(read, make_workbook, damage):
    whole = make_workbook([["who"], ["a"]])
    content = {
        "cut off": whole[:-100],
        "no sheet": whole.replace(b"worksheets/s.xml", b"worksheets/t.xml", 1),
        "empty": make_workbook([]),
    }[damage]
    with pytest.raises(TableInvalidError, match=r"i\.xlsx: "):
        read(content, "i.xlsx")
