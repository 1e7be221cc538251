"""Encodings: recognised by a mark, declared, or refused with the line and a setting to try."""

import pytest

from pocketrec_training.errors import RecipeInvalidError, TableInvalidError
from pocketrec_training.reading.spec import table_spec
from pocketrec_training.recipe.tables import DataConfig, TableFile

TEXT = "who,what\né,x\n" + "b,y\n" * 50


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_are_recognised(read, encoding):
    assert read(TEXT.encode(encoding)).rows[0] == ("é", "x")


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16-le", "shift_jis"])
def test_a_declared_encoding_is_used(read, encoding):
    text = TEXT if encoding != "shift_jis" else TEXT.replace("é", "日")
    assert read(text.encode(encoding), encoding=encoding).rows[0] == (text[9], "x")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"who,what\na,x\n\xe9,y\nb,z\n", r"i\.csv:3: byte 0xE9 is not utf-8.*\n.*cp1252.*é,y"),
        (TEXT.encode("utf-16-le"), r"utf-16-le"),
        (b"who,what\na,x\nb,\xc3", r"i\.csv:3: the file ends within a character"),
    ],
)
def test_a_wrong_encoding_is_refused_with_the_line_and_a_setting(read, content, words):
    with pytest.raises(TableInvalidError, match=words):
        read(content)


@pytest.mark.parametrize("block", [1, 5, 4096])
def test_the_line_of_a_wrong_byte_is_right_in_any_block(read, monkeypatch, block):
    monkeypatch.setattr("pocketrec_training.reading.decode.BLOCK_BYTES", block)
    with pytest.raises(TableInvalidError, match=r"i\.csv:41: byte 0xFF"):
        read(b"who,what\n" + b"a,x\n" * 39 + b"b,\xff\n" + b"a,x\n" * 39)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"encoding": "klingon"}, r"data\.encoding: 'klingon'"),
        ({"encoding": "rot13"}, r"data\.encoding"),
        ({"encoding": "idna"}, r"data\.encoding"),
        ({"separator": "x"}, r"data\.separator: 'x'"),
        ({"separator": "\n"}, r"data\.separator"),
        ({"items": TableFile(file="i", separator="\n")}, r"data\.items\.separator"),
    ],
)
def test_a_setting_that_no_file_can_have_is_refused(keys, words):
    with pytest.raises(RecipeInvalidError, match=words):
        table_spec(DataConfig(**keys), "items")


def test_a_table_of_its_own_settings_takes_the_others_from_data():
    data = DataConfig(separator=";", encoding="cp1252", items=TableFile(file="i", separator="\t"))
    spec = table_spec(data, "items")
    assert (spec.file, spec.separator, spec.encoding, spec.key) == (
        "i",
        "\t",
        "cp1252",
        "data.items",
    )
