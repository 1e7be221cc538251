"""JSON: lines, arrays, objects one after another; values keep the text of the file."""

import json

import pytest

from pocketrec_training.errors import TableInvalidError

ROWS = [{"who": f"u{k}", "what": k, "when": None} for k in range(60)]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(map(json.dumps, ROWS)),
        "\n\n".join(map(json.dumps, ROWS)) + "\n\n",
        json.dumps(ROWS),
        json.dumps(ROWS, indent=1),
        "\n".join(json.dumps(row, indent=2) for row in ROWS),
        "[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n",
    ],
    ids=["lines", "blank lines", "array", "indented array", "indented objects", "array of lines"],
)
@pytest.mark.parametrize("block", [13, 1 << 20])
def test_all_forms_give_the_same_rows(read, monkeypatch, text, block):
    monkeypatch.setattr("pocketrec_training.reading.decode.BLOCK_BYTES", block)
    found = read(text, "i.json")
    assert found.names == ("who", "what", "when")
    assert found.rows == [(row["who"], str(row["what"]), None) for row in ROWS]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("100000000000000000001", "100000000000000000001"),
        ("1.0", "1.0"),
        ("1e3", "1e3"),
        ('"F47AC10B"', "F47AC10B"),
        ("true", "true"),
        ("NaN", "NaN"),
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ('["Drama", "Sci-Fi, weird", null]', "\x1fDrama\x1fSci-Fi, weird"),
        ("[]", None),
        ('{"id": 1}', '{"id": "1"}'),
    ],
)
def test_values_keep_their_text(read, value, text):
    found = read(f'{{"a": {value}, "b": 1}}\n{{"b": 2}}\n', "i.jsonl")
    assert found.rows == [(text, "1"), (None, "2")] or (text is None and not found.rows[0][0])


def test_nested_values_are_reported_with_their_first_line(read):
    found = read('{"a": "x", "b": 1}\n{"a": {"id": 2}, "b": [1]}\n', "i.jsonl")
    assert found.nested == {"a": ("i.jsonl:2", "an object"), "b": ("i.jsonl:2", "a list")}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"a": ', "not JSON"),
        ("5", "not a JSON object"),
        ('{"a": "\\ud83d"}', "a NUL or half a character"),
        ('{"a": "\\u0000"}', "a NUL or half a character"),
        ("[" * 100_000, "not JSON"),
    ],
    ids=["open", "number", "half a pair", "NUL", "deep"],
)
def test_a_damaged_line_is_set_aside(read, line, reason):
    found = read(f'{{"a": 1}}\n{line}\n{{"a": 2}}\n', "i.jsonl")
    assert (found.rows, found.lines) == ([("1",), ("2",)], [1, 3])
    assert found.broken == [(2, reason)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ('{"a": 1}\n{"a": 2', r"i\.json:2: the last line is not a complete JSON object"),
        ('[{"a": 1},\n{"a": 2}', r"i\.json:2: the array does not end"),
        ('[{"a": 1},\n{"a": ', r"i\.json:2: .*cut off"),
        ('[{"a": 1}]\n{"a": 2}\n', r"text after the end of the array"),
        ('{\n"a": 1\n}\n{\n"a": ]\n', r"i\.json:4: a value is not JSON"),
    ],
)
def test_what_is_cut_off_is_refused_with_the_line(read, text, words):
    with pytest.raises(TableInvalidError, match=words):
        read(text, "i.json")


def test_json_in_a_file_of_another_ending_is_recognised(read):
    assert read('{"a": 1}\n{"a": 2}\n', "i.txt").rows == [("1",), ("2",)]
