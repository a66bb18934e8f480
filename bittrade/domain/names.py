"""Names: which text can be one. Every name that people bear is; what nobody can see, or what hides other text, is not.

Knows nothing of accounts or of HTTP. Refused are controls and line breaks, characters that turn the direction of text
around, halves of characters, and names of which nothing shows.
"""

import unicodedata

from bittrade.errors import InvalidInput

MAX_LENGTH = 100  # characters
# Zero width joiner and non-joiner, Mongolian vowel separator: they shape the letters beside them, and show nothing alone.
JOINERS = frozenset("\u200c\u200d\u180e")
VIRAMA = 9  # the combining class of the signs that take a consonant's vowel away
# Letters, signs and symbols by their category that show nothing: Hangul fillers, Khmer inherent vowels, empty Braille.
BLANK = frozenset("\u115f\u1160\u3164\uffa0\u17b4\u17b5\u2800")
IDEOGRAPHS = range(0x20000, 0x3FFFE)  # also those that a later Unicode adds: rare names are made of them


def read_name(text: str, *, field: str = "name") -> str:
    """Return the name without space around it. Raises InvalidInput."""
    name = text.strip()
    if not 1 <= len(name) <= MAX_LENGTH or not is_readable(name):
        raise InvalidInput(f"The name must have 1 to {MAX_LENGTH} printable characters", field=field)
    return name


def is_readable(text: str) -> bool:
    """Whether all of the text can be shown on one line, in the order in which it is written, and some of it shows."""
    return all(_fits(text, at) for at in range(len(text))) and any(map(_shows, text))


def _fits(text: str, at: int) -> bool:
    sign = text[at]
    if sign in JOINERS:
        return _joins(text, at)
    category = unicodedata.category(sign)
    if category == "Cn":
        return ord(sign) in IDEOGRAPHS
    return category[0] != "C" and category not in ("Zl", "Zp")


def _joins(text: str, at: int) -> bool:
    """Whether a joiner has something to shape: it stands inside a word, or after a virama as some old spellings end."""
    before, after = text[:at][-1:], text[at + 1 :][:1]
    if not _is_joinable(before):
        return False
    return _is_joinable(after) or unicodedata.combining(before) == VIRAMA


def _is_joinable(sign: str) -> bool:
    return bool(sign) and unicodedata.category(sign)[0] in "LMS" and sign not in BLANK


def _shows(sign: str) -> bool:
    return sign not in BLANK and (unicodedata.category(sign)[0] in "LNPS" or ord(sign) in IDEOGRAPHS)
