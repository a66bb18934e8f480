"""CSV that a spreadsheet opens without changing it, and that shows whether it is whole.

A spreadsheet reads a cell as whatever it resembles: `0012` loses its zeros, `1e5` becomes 100000, `1-2` and `MAR1` become
dates, and a cell that begins with `=`, `+`, `-` or `@` is a formula that runs. Such a text gets an apostrophe before it.
"""

import csv
import io
import re
from collections.abc import Iterable

from bittrade.domain.money import SATOSHIS_PER_BTC

_MONTH = (
    "(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?"
    "|nov(ember)?|dec(ember)?)"
)
# Numbers, dates and times of any country; an exponent, with or without a point; a clock's am and pm; months; truth.
_CHANGED = re.compile(
    rf"""\s*(
        [0-9][0-9.,:/\-\sTZ]*
      | [0-9.,]+e[+\-]?[0-9]+
      | [0-9][0-9:.\s]*[ap]m?
      | ([0-9]+[\s.\-/]*)? {_MONTH} [\s.\-/]*[0-9]*([\s.\-/:]+[0-9]+)*
      | true | false
    )\s*""",
    re.VERBOSE | re.IGNORECASE,
)
_FORMULA = re.compile(r"\s*[=+\-@|%\t\r\n]")
MAX_EXACT_DIGITS = 15  # a spreadsheet's numbers are floats


def text(value: str | None) -> str:
    """Return a text as a cell, nothing as an empty one."""
    if not value:
        return ""
    return f"'{value}" if _FORMULA.match(value) or _CHANGED.fullmatch(value) else value


def number(value: int | None) -> str:
    """Return a whole number as a cell; one of more digits than a spreadsheet keeps is a text."""
    if value is None:
        return ""
    return str(value) if abs(value) < 10**MAX_EXACT_DIGITS else f"'{value}"


def bitcoin(satoshis: int) -> str:
    """Return satoshis as bitcoin with all 8 places."""
    whole, rest = divmod(abs(satoshis), SATOSHIS_PER_BTC)
    return f"{'-' if satoshis < 0 else ''}{whole}.{rest:08d}"


def lines(rows: Iterable[Iterable[str]]) -> str:
    """Return rows of cells as lines of CSV."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerows(rows)
    return written.getvalue()


def end(count: int, what: str) -> str:
    """Return the last line. A file without it was cut off: over HTTP/1.0 nothing else says so."""
    return lines([[f"# end of export: {count} {what}"]])
