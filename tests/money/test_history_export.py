"""The history as CSV: units, spreadsheets, and a file that was cut."""

import csv
import io

import pytest
from flask import Flask

from bittrade.services import history_export
from tests.money.conftest import Trader

END = "# end of export: "


def read(trader: Trader, **query: str) -> list[dict[str, str]]:
    """The rows of a file whose last line counts them."""
    answer = trader.get("/api/transactions.csv", **query)
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    *rows, last = csv.DictReader(io.StringIO(answer.get_data(as_text=True)))
    assert last["id"] == f"{END}{len(rows)} transactions"
    return rows


def test_the_file_holds_every_row_in_pieces(trader: Trader, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        trader.trade("buy", "100", client_order_id=f"order-{number}")
    listed = trader.get("/api/transactions").get_json()["transactions"]
    for piece in (1, 2, 7, 1000):
        monkeypatch.setattr(history_export, "PIECE", piece)
        rows = read(trader)
        assert [int(row["id"]) for row in rows] == [row["id"] for row in listed]
    assert [row["client_order_id"] for row in rows] == [f"order-{n}" for n in (4, 3, 2, 1, 0)] + ["", ""]
    assert [row["type"] for row in read(trader, type="DEPOSIT")] == ["DEPOSIT_BTC", "DEPOSIT_INR"]


def test_each_column_says_its_unit(trader: Trader) -> None:
    trader.trade("buy", "1000")
    bought, bitcoin, _ = read(trader)
    assert (bought["amount_inr"], bought["amount_btc"], bought["amount_satoshis"]) == (
        *("1000", "0.00024420", "24420"),
    )
    assert (bought["change_inr"], bought["change_btc"], bought["change_satoshis"]) == (
        *("-1000", "0.00024420", "24420"),
    )
    assert bought["execution_price_inr_per_btc"] == "4095000"
    assert (bitcoin["type"], bitcoin["amount_btc"]) == ("DEPOSIT_BTC", "0.10000000")
    assert bought["created_at_utc"].endswith("Z")
    units = ("inr", "btc", "satoshis", "utc")
    assert all(
        name.endswith(units) for name in bought if "amount" in name or "price" in name or "_at" in name
    )


@pytest.mark.parametrize("name", ["0012", "1e5", "2024-01-02", "12:30", "MAR1", "TRUE"])
def test_an_order_s_name_survives_a_spreadsheet(trader: Trader, name: str) -> None:
    assert trader.trade("buy", "100", client_order_id=name).status_code == 201
    assert read(trader)[0]["client_order_id"] == f"'{name}"


def test_an_export_that_breaks_off_has_no_last_line(
    trader: Trader, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        trader.trade("buy", "100")
    monkeypatch.setattr(history_export, "PIECE", 2)
    with app.app_context():
        *pieces, last = history_export.export(trader.person.id, 0)
    assert last == f"{END}5 transactions\r\n"
    assert len(pieces) == 4
    assert END not in "".join(pieces)
