"""The user's own view: a receipt for every price, pages that stay right, an export, and nobody else's rows."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask

from bittrade import unit_of_work
from bittrade.models import Transaction
from tests.fixtures import set_price
from tests.money.conftest import Trader


def test_a_receipt_says_where_the_price_came_from_and_that_it_adds_up(trader: Trader, app: Flask) -> None:
    bought = trader.trade("buy", "1000").get_json()
    set_price(app, 99_000)  # what the market does later changes no receipt
    receipt = trader.get(f"/api/transactions/{bought['id']}/receipt").get_json()
    assert receipt["recomputed"] is True
    assert (receipt["source"], receipt["btc_usd_price"], receipt["as_of"]) == (
        "coingecko",
        45_000,
        bought["as_of"],
    )
    assert (receipt["buy_multiplier"], receipt["execution_price"]) == ("91", 4_095_000)
    assert (receipt["inr_amount"], receipt["btc_amount"]) == (1000, 24_420)
    assert receipt["order"] == {"action": "buy", "amount": 1000, "unit": "rupees"}
    assert receipt["rounding"] == "satoshis rounded down"
    assert receipt["spread_inr_per_btc"] == 4_095_000 - 3_960_000
    assert receipt["spread_inr"] == 33  # 135,000 × 24,420 / 10⁸ = 32.967


@pytest.mark.parametrize(
    ("action", "amount", "currency", "rounding"),
    [
        ("buy", "1000", "inr", "satoshis rounded down"),
        ("buy", "0.00024421", "btc", "rupees rounded up"),
        ("sell", "1000", "inr", "satoshis rounded up"),
        ("sell", "0.00024421", "btc", "rupees rounded down"),
    ],
)
def test_every_kind_of_order_has_a_receipt_that_follows(
    trader: Trader, action: str, amount: str, currency: str, rounding: str
) -> None:
    done = trader.trade(action, amount, currency).get_json()
    receipt = trader.get(f"/api/transactions/{done['id']}/receipt").get_json()
    assert (receipt["recomputed"], receipt["rounding"]) == (True, rounding)
    assert (receipt["inr_amount"], receipt["btc_amount"]) == (done["inr_amount"], done["btc_amount"])


def test_a_receipt_whose_trade_was_tampered_with_says_so(trader: Trader, app: Flask) -> None:
    done = trader.trade("buy", "1000").get_json()
    with app.app_context():
        forged = sa.update(Transaction).where(Transaction.id == done["id"]).values(btc_amount=24_421)
        unit_of_work.commit(lambda session: session.execute(forged))
    assert trader.get(f"/api/transactions/{done['id']}/receipt").get_json()["recomputed"] is False


def test_a_deposit_has_no_receipt(trader: Trader) -> None:
    deposit = trader.get("/api/transactions", type="DEPOSIT").get_json()["transactions"][0]
    answer = trader.get(f"/api/transactions/{deposit['id']}/receipt")
    assert (answer.status_code, answer.get_json()["code"]) == (404, "no_receipt")


@pytest.mark.parametrize("path", ["/api/transactions/{}", "/api/transactions/{}/receipt"])
def test_anothers_transaction_is_not_found(new_trader: Callable[..., Trader], path: str) -> None:
    owner, other = new_trader(inr=1000), new_trader()
    done = owner.trade("buy", "100").get_json()
    assert owner.get(path.format(done["id"])).status_code == 200
    for number in (done["id"], 10**9, 10**30):
        answer = other.get(path.format(number))
        assert (answer.status_code, answer.get_json()["code"]) == (404, "transaction_not_found")


def test_the_cursor_walks_over_everything_once_while_trades_go_on(trader: Trader) -> None:
    for _ in range(7):
        trader.trade("buy", "100")
    page = trader.get("/api/transactions", limit=3).get_json()
    seen = [row["id"] for row in page["transactions"]]
    while page["next_before_id"]:
        trader.trade("buy", "100")  # newer than the cursor: it disturbs no page
        page = trader.get("/api/transactions", limit=3, before_id=page["next_before_id"]).get_json()
        seen += [row["id"] for row in page["transactions"]]
    assert len(seen) == len(set(seen)) == 9
    assert seen == sorted(seen, reverse=True)
    assert page["hasMore"] is False


def test_pages_and_has_more_are_exact(trader: Trader) -> None:
    for _ in range(4):
        trader.trade("buy", "100")  # six rows with the two of the deposit
    for limit, page, rows, has_more in (
        (6, 1, 6, False),
        (5, 1, 5, True),
        (3, 2, 3, False),
        (4, 2, 2, False),
        (6, 2, 0, False),
    ):
        answer = trader.get("/api/transactions", limit=limit, page=page).get_json()
        assert (len(answer["transactions"]), answer["hasMore"]) == (rows, has_more)


def test_filters_narrow_by_type_status_and_time(trader: Trader) -> None:
    first = trader.trade("buy", "100").get_json()
    second = trader.trade("sell", "50").get_json()

    def ids(**query: object) -> list[int]:
        return [row["id"] for row in trader.get("/api/transactions", **query).get_json()["transactions"]]

    assert ids(type="MARKET_BUY") == [first["id"]]
    assert ids(type="MARKET_SELL", status="EXECUTED") == [second["id"]]
    assert ids(status="PENDING") == []
    created = trader.get(f"/api/transactions/{second['id']}").get_json()["created_at"]
    assert second["id"] in ids(**{"from": created})
    assert ids(to="2020-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    "query",
    [
        {"type": "BUY"},
        {"status": "done"},
        {"from": "yesterday"},
        {"from": "2024-01-01"},
        {"from": "2024-01-01T00:00:00"},
        {"to": "9999-12-31T23:59:59-23:59"},
        {"to": "2024-13-01T00:00:00Z"},
        {"before_id": "0"},
        {"before_id": "-1"},
        {"before_id": "1e3"},
        {"before_id": "9" * 19},
        {"limit": "201"},
        {"limit": "0"},
        {"page": "0"},
        {"page": "１"},
    ],
)
def test_a_bad_query_is_a_clear_400(trader: Trader, query: dict[str, str]) -> None:
    answer = trader.get("/api/transactions", **query)
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_input")
    assert answer.get_json()["field"] in query
