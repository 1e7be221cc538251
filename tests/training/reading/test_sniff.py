"""How tables are written is recognised from their first bytes."""

import pytest

from pocketrec_training.reading.sniff import Dialect, sniff_encoding, sniff_header, sniff_table


@pytest.mark.parametrize(
    ("text", "separator", "quote", "header"),
    [
        ("user,item,ts\n1,2,3\n4,5,6\n", ",", "", True),
        ("1,2,3\n4,5,6\n", ",", "", False),
        ("196\t242\t3\t881250949\n186\t302\t3\t891717742\n", "\t", "", False),
        ("1::1193::5::978300760\n1::661::3::978302109\n", "::", "", False),
        ('"User-ID";"ISBN";"Book-Rating"\n"276725";"034545104X";"0"\n', ";", '"', True),
        ("1|Toy Story (1995)|01-Jan-1995\n2|GoldenEye (1995)|01-Jan-1995\n", "|", "", False),
        (
            "movieId,title,genres\n1,Toy Story (1995),Adventure|Children\n2,Up,Drama\n",
            ",",
            "",
            True,
        ),
        ("user_id:token\titem_id:token\n196\t242\n186\t302\n", "\t", "", True),
        ("id\tname\n1\tA; B, C\n2\tD, E; F\n3\tG\n", "\t", "", True),
        ("user;score\n1;4,5\n2;3,5\n", ";", "", True),
        ("0 1 2\n1 4 5\n", " ", "", False),
        ("1::The Blue Door::Drama\n2::The Red Door::War\n", "::", "", False),
        ("item\nA\nB\n", "", "", True),
    ],
)
def test_separator_quotes_and_header_are_recognised(text, separator, quote, header):
    assert sniff_table(text.encode()) == Dialect("utf-8", separator, quote, header)


def test_ids_of_one_form_in_the_first_line_are_no_header():
    rows = [["N55528", "lifestyle", "Brands"], ["N19639", "health", "Habits"]]
    assert not sniff_header(rows)


def test_words_above_numbers_are_a_header():
    assert sniff_header([["who", "what"], ["1", "2"], ["3", "4"]])


@pytest.mark.parametrize(
    ("sample", "encoding"),
    [
        ("é,1\n".encode(), "utf-8"),
        ("é,1\n".encode("cp1252"), "cp1252"),
        ("é,1\n".encode("utf-8-sig"), "utf-8-sig"),
        ("é,1\n".encode("utf-16"), "utf-16"),
        (b"\x81,1\xe9,2\n", "latin-1"),
        ("é".encode()[:1], "utf-8"),
    ],
    ids=["utf-8", "cp1252", "mark", "utf-16", "latin-1", "cut in a character"],
)
def test_encoding_is_recognised(sample, encoding):
    assert sniff_encoding(sample) == encoding


def test_a_line_that_the_sample_cuts_off_does_not_decide():
    assert sniff_table(b"a,b,c\n1,2,3\n4").separator == ","


def test_a_quoted_separator_does_not_split_a_field():
    found = sniff_table(b'id,title\n1,"A, B, C"\n2,"D, E"\n3,"F"\n')
    assert (found.separator, found.quote) == (",", '"')


def test_an_inch_mark_is_not_a_quote():
    assert sniff_table(b'id\tname\n1\t12" vinyl\n2\tLP 7" single\n').quote == ""
