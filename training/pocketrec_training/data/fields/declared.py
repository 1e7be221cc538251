"""Columns of declared features: read from texts, a bad value is nulled without its item."""

from collections.abc import Mapping, Sequence

import ibis
from ibis.expr import types as ir

from pocketrec_bundle.declared import Feature
from pocketrec_bundle.declared.fitted import MAX_CHARACTERS, MAX_WORD
from pocketrec_bundle.encoding.strict_json import MAX_NUMBER
from pocketrec_training.data import columns as col
from pocketrec_training.data.fields.items import BAD, MAX_CATEGORIES, QUOTED, joined_names
from pocketrec_training.errors import TableInvalidError

ONE_VALUE = ("category", "number", "flag", "text")
"""Kinds with one value a row; the others may be lists."""
YES = ("1", "1.0", "true", "t", "yes", "y")
NO = ("0", "0.0", "false", "f", "no", "n")
"""Texts of a flag, in small letters."""
_BETWEEN = r"[\[\](),;|\s\x1f]+"
"""What may stand between the numbers of a vector, and around them."""


def feature_fields(
    features: Mapping[str, Feature], texts: Mapping[str, ir.StringValue], separator: str
) -> dict[str, ir.Value]:
    """Return the column of each feature, null where unknown, and a `BAD` column for each.

    Categories are names joined by "|", texts as they are, numbers and flags float64, vectors arrays
    of float64.

    Args:
        features: by name.
        texts: the trimmed source text of each feature, null where missing.
        separator: between names of categories.
    """
    found: dict[str, ir.Value] = {}
    for name, feature in features.items():
        text = texts[name]
        value, good = _read(feature, text, separator)
        good = good.fill_null(False)
        bad = text.notnull() & ~good
        if feature.kind == "categories":
            bad = bad & value.notnull()  # separators alone mean no name
        found[col.FEATURE + name] = ibis.ifelse(good, value, ibis.null(value.type()))
        quoted = text.substr(0, QUOTED + 1)
        found[BAD + col.FEATURE + name] = ibis.ifelse(bad, quoted, ibis.null("string"))
    return found


def why_nulled(features: Mapping[str, Feature]) -> dict[str, str]:
    """Return what is wrong with a nulled value, by column."""
    return {col.FEATURE + name: _reason(feature) for name, feature in features.items()}


def with_missing(features: Mapping[str, Feature], items: ir.Table) -> ir.Table:
    """Return the table of items with declared values in place of missing ones."""
    values = {
        col.FEATURE + name: items[col.FEATURE + name].fill_null(float(feature.missing))
        for name, feature in features.items()
        if feature.missing is not None
    }
    return items.mutate(**values) if values else items


def refuse_other_types(
    items: ir.Table, features: Mapping[str, Feature], file: str, told: Sequence[str]
) -> None:
    """Refuse a delivery in which most values of a feature are not of its kind.

    Args:
        items: the cleaned items.
        features: by name.
        file: of the items, for the message.
        told: sentences of `nulled_sentences`, each with a sample.

    Raises:
        TableInvalidError: more values were nulled than read.
    """
    if not features:
        return
    counts = {}
    for name in features:
        column = col.FEATURE + name
        counts[f"{name}.good"] = items[column].count()
        counts[f"{name}.bad"] = items[BAD + column].count()
    (n,) = items.aggregate(**counts).to_pyarrow().to_pylist()
    for name, feature in features.items():
        if n[f"{name}.bad"] > n[f"{name}.good"]:
            column = col.FEATURE + name
            sample = next((text for text in told if text.startswith(f"{column}:")), column)
            raise TableInvalidError(
                f"{file}: features.items.{name}: most values are not of the kind "
                f'"{feature.kind}". {sample}. Correct kind, length or column in the recipe.'
            )


def _read(
    feature: Feature, text: ir.StringValue, separator: str
) -> tuple[ir.Value, ir.BooleanValue]:
    """Return a feature's value of a text, and whether it can be used."""
    if feature.kind == "category":
        return text.cast("string"), text.length() <= MAX_WORD
    if feature.kind == "text":
        return text.cast("string"), text.length() <= MAX_CHARACTERS
    if feature.kind == "categories":
        names = joined_names(text, separator)
        return names, names.length() <= MAX_CATEGORIES
    if feature.kind == "number":
        number = text.try_cast("float64")
        # One zero: -0.0 would be a value of its own.
        return ibis.ifelse(number == 0, 0.0, number), number.abs() <= MAX_NUMBER
    if feature.kind == "flag":
        word = text.lower()
        flag = ibis.cases((word.isin(YES), 1.0), (word.isin(NO), 0.0), else_=ibis.null("float64"))
        return flag, flag.notnull()
    parts = text.re_replace(_BETWEEN, " ").strip().split(" ")
    numbers = parts.map(lambda part: part.try_cast("float64"))
    usable = numbers.filter(lambda number: number.abs() <= MAX_NUMBER)
    return numbers, (numbers.length() == feature.length) & (usable.length() == feature.length)


def _reason(feature: Feature) -> str:
    if feature.kind == "vector":
        return f"not a list of {feature.length} finite numbers"
    return {
        "category": f"longer than {MAX_WORD} characters",
        "text": f"longer than {MAX_CHARACTERS:,} characters",
        "categories": f"longer than {MAX_CATEGORIES:,} characters",
        "number": f"not a number or beyond {MAX_NUMBER:g}",
        "flag": "not a flag such as 1, 0, true, false, yes or no",
    }[feature.kind]
