"""Cells that a spreadsheet leaves as they are."""

import pytest

from bittrade.domain import spreadsheet


@pytest.mark.parametrize(
    "text",
    [
        *("0012", "1e5", "1E-5", "12.5", "1,000", "123456789012345678", ".5e3"),
        *("2024-01-02", "1-2", "1/2", "12:30", "12:30 pm", "5p", "2024-01-02T10:30:00Z"),
        *("MAR1", "march-2024", "1-jan", "Dec.24", "sept1", "TRUE", "false"),
        *("=1+1", "+1", "-1", "@SUM(A1)", "=HYPERLINK(1)", " =1", "\t=1", "|cmd", "%0"),
    ],
)
def test_what_a_spreadsheet_would_change_is_marked_as_text(text: str) -> None:
    assert spreadsheet.text(text) == f"'{text}"


@pytest.mark.parametrize(
    "text",
    ["morning-buy", "order-1", "a1b2", "3f9a0c1d-0e4b-4d2c-9f6e-1a2b3c4d5e6f", "market", "sepia", "x", "1x2"],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert spreadsheet.text(text) == text


@pytest.mark.parametrize(
    ("satoshis", "written"),
    [
        (0, "0.00000000"),
        (1, "0.00000001"),
        (24_420, "0.00024420"),
        (-5_000_000, "-0.05000000"),
        (2_100_000_000_000_000, "21000000.00000000"),
    ],
)
def test_bitcoin_has_eight_places(satoshis: int, written: str) -> None:
    assert spreadsheet.bitcoin(satoshis) == written


def test_a_number_beyond_a_float_is_a_text() -> None:
    assert spreadsheet.number(999_999_999_999_999) == "999999999999999"
    assert spreadsheet.number(10**15) == "'1000000000000000"
    assert spreadsheet.number(None) == spreadsheet.text(None) == spreadsheet.text("") == ""


def test_a_cell_with_commas_quotes_and_lines_is_one_cell() -> None:
    assert spreadsheet.lines([['a,"b"\nc', "d"]]) == '"a,""b""\nc",d\r\n'
