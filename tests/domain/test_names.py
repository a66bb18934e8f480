"""Which text can be somebody's name."""

import pytest

from bittrade.domain.names import is_readable, read_name
from bittrade.errors import InvalidInput

NAMES = {
    "one letter": "A",
    "a hundred": "x" * 100,
    "Malayalam, a chillu of today": "അനിൽ കുമാർ",
    "Malayalam, a chillu of before": "അനില്\u200d",
    "Malayalam, two of them": "അനില്\u200d കുമാര്\u200d",
    "Malayalam, a joiner inside": "ചന്ദ്രന്\u200cപിള്ള",
    "Marathi, the eyelash": "ऱ्हास सूर\u094d\u200dयवंशी",
    "Marathi, letters kept apart": "शरद् \u200cपवार".replace(" \u200c", "\u200c"),
    "Sinhala": "ශ්\u200dරී ලංකා",
    "Persian": "علی\u200cرضا",
    "Tamil": "முருகன்",
    "Arabic with vowels": "مُحَمَّد",
    "Hebrew": "שָׂרָה",
    "combining signs": "Nguye\u0302\u0303n Va\u0306n",
    "Yoruba": "Ọ\u0300ṣun",
    "a no-break space": "Anne\u00a0Marie",
    "a narrow no-break space": "Jean\u202fPaul",
    "an ideographic space": "李\u3000小龍",
    "a rare ideograph": "\U00020bb7野家",
    "an ideograph of a Unicode after ours": "\U00031350",
    "a variant of an ideograph": "葛\U000e0100城",
    "Mongolian": "ᠨᠠᠷ\u180eᠠ",
    "an apostrophe": "O'Neil; DROP TABLE users;--",
    "a sign": "\U0001f511",
    "a sign made of three": "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "old Hangul": "\u1112\u119e\u11ab",
}


@pytest.mark.parametrize("name", NAMES)
def test_every_name_that_people_bear_is_one(name: str) -> None:
    assert read_name(NAMES[name]) == NAMES[name]


def test_space_around_a_name_is_no_part_of_it() -> None:
    assert read_name(" \u3000Anne Marie\u00a0") == "Anne Marie"


UNFIT = {
    "nothing": "",
    "space": " \u00a0\u3000 ",
    "too much": "x" * 101,
    "a line": "a\nb",
    "a tab": "a\tb",
    "NUL": "a\x00b",
    "delete": "a\x7fb",
    "a control of C1": "a\x9bb",
    "a next line": "a\x85b",
    "a line separator": "a\u2028b",
    "a paragraph separator": "a\u2029b",
    "a bidi override": "\u202egnol",
    "a bidi embedding": "a\u202ab",
    "the end of one": "a\u202cb",
    "a bidi isolate": "a\u2066b\u2069",
    "a bidi mark": "a\u200fb",
    "half a character": "a\ud800",
    "the other half": "\udfffa",
    "a zero width space": "a\u200bb",
    "nothing but one": "\u200b",
    "a word joiner": "a\u2060b",
    "a byte order mark": "\ufeffabc",
    "a soft hyphen": "a\u00adb",
    "tags": "a\U000e0041\U000e007f",
    "nothing but joiners": "\u200d\u200c",
    "a joiner first": "\u200da",
    "a joiner last": "a\u200d",
    "a joiner after a space": "a \u200db",
    "two joiners": "അനില്\u200d\u200d",
    "nothing but a combining sign": "\u0301",
    "nothing but a variation selector": "\ufe0f",
    "a Hangul filler": "\u3164",
    "Hangul fillers of another kind": "\u115f\u1160",
    "empty Braille": "\u2800",
    "a private character": "\ue000",
    "what is no character": "a\uffff",
    "what no Unicode has": "a\U00040000",
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_nobody_sees_or_what_hides_text_is_no_name(name: str) -> None:
    with pytest.raises(InvalidInput, match="printable") as refused:
        read_name(UNFIT[name])
    assert refused.value.facts == {"field": "name"}


def test_text_without_anything_to_see_is_not_readable() -> None:
    assert not is_readable("")
    assert is_readable("a")
