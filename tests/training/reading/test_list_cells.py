"""A list as the text of a cell: one text and a whole column are read alike, and nothing is run."""

import ibis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec_training.reading.json_rows import LIST
from pocketrec_training.reading.list_cells import MAX_CELL, list_parts, with_lists


@pytest.fixture(scope="module")
def connection():
    found = ibis.duckdb.connect()
    yield found
    found.disconnect()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (repr(["Sci-Fi", "Children's", 'A "B"', "C, D", "back\\slash"]), None),
        ("[u'Action', u'Indie']", ["Action", "Indie"]),
        ('["War", 2, ""]', ["War", "2"]),
        ("[Adventure, Children's]", ["Adventure", "Children's"]),
        ("[['Books', 'Fiction'], ['New']]", ["Books", "Fiction", "New"]),
        ("[]", []),
    ],
)
def test_a_list_is_read_as_its_parts(text, parts):
    assert list_parts(text) == (parts or [] if parts is not None else eval(text))  # noqa: S307


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Drama",
        "[REC] 2",
        "[a][b]",
        "['a' 'b']",
        "['a",
        "[[a]",
        "[a]]",
        "[[[a]]]",
        "[{'id': 16, 'name': 'War'}]",
        "[" + "a," * MAX_CELL + "]",
    ],
)
def test_another_text_is_no_list(connection, text):
    assert list_parts(text) is None
    column = ibis.literal(text)
    assert connection.execute(with_lists(column)) == text


texts = st.text(alphabet="[],'\" ua\\{}\n|é" + LIST, max_size=12)


@given(cells=st.lists(texts.map(lambda text: f"[{text}]"), min_size=1, max_size=200))
@settings(max_examples=30, deadline=None)
def test_the_query_reads_a_column_as_the_parser_reads_each_text(connection, cells):
    table = ibis.memtable({"n": range(len(cells)), "text": cells})
    query = table.select("n", found=with_lists(table["text"])).order_by("n")
    for text, found in zip(cells, connection.execute(query)["found"], strict=True):
        parts = list_parts(text.replace(LIST, ""))
        if parts is None:
            assert found == text
        else:
            assert [part for each in found.split(LIST) if (part := each.strip())] == parts
