"""Text tables: damage within a line costs the line, what makes the rest doubtful is refused."""

import pytest

from pocketrec_training.errors import TableInvalidError

HEAD = "who,what,when\n"


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (HEAD + "a,x,1\nb,y,2\n", [("a", "x", "1"), ("b", "y", "2")]),
        (HEAD + "a,x,1\nb,y,2", [("a", "x", "1"), ("b", "y", "2")]),
        (HEAD + "a,x,1\r\nb,y,2\n", [("a", "x", "1"), ("b", "y", "2")]),
        ((HEAD + "a,x,1\nb,y,2\n").replace("\n", "\r\r\n"), [("a", "x", "1"), ("b", "y", "2")]),
        ((HEAD + "a,x,1\nb,y,2\n").replace("\n", "\r"), [("a", "x", "1"), ("b", "y", "2")]),
        ("\ufeff" + HEAD + "a,x,1\n", [("a", "x", "1")]),
        ("\n\n" + HEAD + "\na,x,1\n  \n,,\n", [("a", "x", "1")]),
        (HEAD + "007,1.0,1e3\n", [("007", "1.0", "1e3")]),
        (HEAD + '"a, ""b""","x\ny",1\nb,"y",2\n', [('a, "b"', "x\ny", "1"), ("b", "y", "2")]),
        (HEAD + 'a,5" nail,1\n', [("a", '5" nail', "1")]),
        (HEAD + '"a \\"b\\" c",x,1\n', [('a "b" c', "x", "1")]),
        (HEAD + "a,x,1,,\n", [("a", "x", "1")]),
        ("who,what,when,,\na,x,1\n", [("a", "x", "1")]),
        ("sep=;\nwho;what;when\na;x;1,5\n", [("a", "x", "1,5")]),
        ("who;what;when\na;x;1,5\n", [("a", "x", "1,5")]),
        (HEAD + "שלום,\U0001f600,1\n", [("שלום", "\U0001f600", "1")]),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, str) else "",
)
def test_texts_are_read_as_they_are(read, text, rows):
    found = read(text)
    assert found.names == ("who", "what", "when")
    assert (found.rows, found.broken) == (rows, [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a,x", "2 fields instead of 3"),
        ("a,x,1,2", "4 fields instead of 3"),
        ('"a"b,x,1', "text after a closing quote"),
        ("a,x\0,1", "a NUL byte"),
    ],
)
def test_a_damaged_line_is_set_aside_with_its_number(read, line, reason):
    found = read(HEAD + 'a,x,1\n"b\nb",y,2\n' + line + "\nc,z,3\n")
    assert found.rows == [("a", "x", "1"), ("b\nb", "y", "2"), ("c", "z", "3")]
    assert found.lines == [2, 3, 6]
    assert found.broken == [(5, reason)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "i.csv: is empty"),
        ("\n \n", "is empty"),
        (
            HEAD + "a,x,1\n" * 5 + '"b,y,2\n' + "a,x,1\n" * 5,
            r"i\.csv:7: a quote opens.*data\.quote",
        ),
        (HEAD + '"b,y,2\n' + 'a,"x",1\n' * 5, r"i\.csv:2: a quote opens"),
        (HEAD + "a,x,1\nb,y", r"i\.csv:3: the file ends within this line: b,y"),
        ("who,what\n" + "a,x,1\n" * 3, r"the header has 2 names \(who, what\).*3 fields"),
        (",".join(map(str, range(3000))) + "\n", "more than 2000 columns"),
    ],
)
def test_what_makes_the_rest_doubtful_is_refused(read, text, words):
    with pytest.raises(TableInvalidError, match=words) as caught:
        read(text)
    assert len(str(caught.value).splitlines()) <= 4


def test_quotes_are_texts_where_the_recipe_says_so(read):
    found = read(HEAD + '"a,x",1\n', quote="")
    assert found.rows == [('"a', 'x"', "1")]


@pytest.mark.parametrize(
    ("name", "text", "keys", "rows"),
    [
        ("i.tsv", 'w\tt\na\tA; "B", C\nb\t"D"\n', {}, [("a", 'A; "B", C'), ("b", "D")]),
        ("i.dat", "1::a:b::5\n2::c::6\n", {"header": False}, [("1", "a:b", "5"), ("2", "c", "6")]),
        ("i.txt", "w  t\n1 2\n", {"separator": " "}, [("1", "2")]),
        (
            "u.item",
            "1|Up (2009)|x\n2|Ida|y\n",
            {"header": False},
            [("1", "Up (2009)", "x"), ("2", "Ida", "y")],
        ),
        ("i.inter", "u:token\ti:token\n1\ta, b\n", {}, [("1", "a, b")]),
        ("ids.csv", "id\n1\n2\n", {}, [("1",), ("2",)]),
    ],
)
def test_the_separator_is_found_by_ending_and_content(read, name, text, keys, rows):
    assert read(text, name, **keys).rows == rows


def test_columns_without_a_header_are_numbered_by_the_usual_width(read):
    found = read("a,x\na,x,1\nb,y,2\n", header=False)
    assert found.names == ("1", "2", "3")
    assert found.broken == [(1, "2 fields instead of 3")]


def test_two_columns_of_one_name_are_kept_apart(read):
    found = read("a,a,\n1,2,3\n")
    assert (found.names, found.rows) == (("a", "a", "3"), [("1", "2", "3")])


def test_a_line_that_no_table_has_is_set_aside(read, monkeypatch):
    monkeypatch.setattr("pocketrec_training.reading.decode.MAX_LINE", 1000)
    monkeypatch.setattr("pocketrec_training.reading.decode.BLOCK_BYTES", 100)
    found = read(HEAD + "a,x,1\n" + "b" * 5000 + ",y,2\nc,z,3\n")
    assert found.rows == [("a", "x", "1"), ("c", "z", "3")]
    assert found.broken == [(3, "line longer than 1000 characters")]


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64])
def test_the_size_of_blocks_changes_nothing(read, monkeypatch, block):
    monkeypatch.setattr("pocketrec_training.reading.decode.BLOCK_BYTES", block)
    found = read(HEAD + 'é,"x\r\nx",1\r\nb,y\n\nc,"z",3\n')
    assert found.rows == [("é", "x\nx", "1"), ("c", "z", "3")]
    assert (found.lines, found.broken) == ([2, 6], [(4, "2 fields instead of 3")])


def test_lines_at_once_and_one_by_one_agree(read):
    """A damaged line makes the reader look at each line; without it, whole blocks are split."""
    text = "".join(f'{k},"x{k % 3}",{k * 7}\n' for k in range(200))
    plain = text.replace('"', "")
    for body in (text, plain):
        assert read(HEAD + body).rows == read(HEAD + body + "only one\nz,z,z\n").rows[:-1]


def test_users_with_their_items_become_rows(read):
    found = read("0 5 6\n1\n2 5\n", "train.txt", layout="user_items")
    assert (found.names, found.lines) == (("1", "2"), [1, 1, 3])
    assert found.rows == [("0", "5"), ("0", "6"), ("2", "5")]


def test_chosen_impressions_become_rows(read):
    text = "1\tu\tN9-0 N8-1 N7-1\n" + "2\tv\tN5-0\n" * 9 + "3\tw\tN5\n"
    found = read(text, "b.tsv", header=False, layout="impressions")
    assert found.rows == [("1", "u", "N8"), ("1", "u", "N7")]
    assert found.broken == [(11, "impressions without -0 and -1")]
