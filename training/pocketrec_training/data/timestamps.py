"""Time stamps as text, in the forms that exports of real shops have, to unix seconds UTC."""

import duckdb
import ibis
import ibis.expr.datatypes as dt
from ibis.expr import types as ir

from pocketrec_training.errors import RecipeInvalidError

DAY_FIRST = ("%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d/%m/%Y")
MAX_TS = 4_102_444_800
"""2100-01-01; a later time is a mistake of units, such as microseconds."""


@ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
def try_strptime(text: str, format: str) -> dt.timestamp:
    """Parse by format, null where it does not fit (DuckDB's function; Spark: try_to_timestamp)."""


def check_format(format: str, where: str) -> None:
    """Refuse a format that no time can be read with; empty: none is set.

    Raises:
        RecipeInvalidError: DuckDB's strptime does not know it; the text begins with `where`.
    """
    if not format:
        return
    try:
        with duckdb.connect() as connection:
            connection.execute("SELECT try_strptime('', ?)", [format])
    except duckdb.Error as err:
        first_line = str(err).partition("\n")[0]
        raise RecipeInvalidError(
            f"{where}: {format!r} is not a format of strptime, such as '%d/%m/%Y %H:%M' "
            f"({first_line})"
        ) from err


def unix_seconds(text: ir.StringValue, format: str = "") -> ir.IntegerValue:
    """Read a column of texts as unix seconds, null where no form fits or the year is past 2100.

    Without `format`, each value is tried as seconds (up to 11 digits), milliseconds (12 or 13),
    ISO 8601, and day-first dates; month-first dates are ambiguous and need a `format`.
    """
    if format:
        seconds = try_strptime(text, format).epoch_seconds().cast("int64")
    else:
        number = text.try_cast("float64")
        seconds = ibis.cases(
            (text.re_search(r"^\d{1,11}(\.\d*)?$"), number.floor().cast("int64")),
            (text.re_search(r"^\d{12,13}$"), (number / 1000).floor().cast("int64")),
            else_=ibis.coalesce(
                text.try_cast("timestamp('UTC')").epoch_seconds().cast("int64"),
                *(try_strptime(text, form).epoch_seconds().cast("int64") for form in DAY_FIRST),
            ),
        )
    return ibis.ifelse(seconds.between(0, MAX_TS - 1), seconds, ibis.null("int64"))
