"""The whole client against a live server: every part of the API, ccxt's methods, and the README as it stands there."""

import io
import itertools
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from bittrade_client import Client, Keys, errors
from bittrade_client.ccxt_shape import Exchange

from tests.clients.conftest import SOURCE, client_of
from tests.e2e.conftest import PASSWORD, Person, System, wait_until

README = (SOURCE.parent / "README.md").read_text()
NEW_PASSWORD = "entirely different words"
FAR_BELOW = 3_500_000  # a limit that no rate of these tests reaches


@pytest.fixture
def person(new_person: Callable[[int], Person]) -> Person:
    """Somebody with ₹80,000, and bitcoin bought for ₹20,000."""
    made = new_person(100_000)
    made.trade("buy", "20000")
    return made


@pytest.fixture
def client(person: Person) -> Iterator[Client]:
    with client_of(person) as made:
        yield made


# --- Every part of the API ----------------------------------------------------------------------------------------


def test_market_data(system: System) -> None:
    client = Client(system.url)
    rates = client.price()
    assert rates.buy_rate_inr > rates.sell_rate_inr > 0
    assert client.current().source == rates.source
    assert client.price_history(1)[0].btc_usd_price == rates.btc_usd_price
    assert abs(datetime.now(UTC) - client.time().timestamp) < timedelta(minutes=5)
    (market,) = client.markets()
    assert (market.symbol, market.active) == ("BTC/INR", True)
    assert client.trading_rules().spread_pct == market.spread_pct
    assert client.market_status().trading == "open"
    assert client.health().database == "connected"
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    (candle, *_) = client.candles("1m", 500, since=hour_ago, currency="inr")
    assert isinstance(candle.open, Decimal)
    with pytest.raises(errors.InvalidTimeframe):
        client.chart("2d")
    assert client.chart("1d").price_data[0].price > 0
    assert 0 <= client.sentiment().fear_greed_value <= 100
    with pytest.raises(ValueError, match="zone"):
        client.candles(since=datetime(2025, 3, 1))


def test_accounts_sessions_and_keys(system: System) -> None:
    client, email = Client(system.url), f"{os.urandom(4).hex()}@example.com"
    user = client.register(email, PASSWORD, "A Person")
    assert (client.verify(), client.profile().email) == (user, email)
    with pytest.raises(errors.EmailTaken):
        Client(system.url).register(email, PASSWORD, "Another")
    with pytest.raises(errors.InvalidCredentials):
        Client(system.url).login(email, "not the password")
    other = Client(system.url)
    other.login(email, PASSWORD)
    assert client.change_name("New Name", current_password=PASSWORD) == "New Name"
    assert client.change_email(f"x{email}", current_password=PASSWORD) == f"x{email}"
    assert len(client.sessions()) == 2
    (session,) = [each for each in client.sessions() if not each.current]
    client.end_session(session.id)
    with pytest.raises(errors.TokenInvalid):
        other.verify()
    key = client.create_api_key("bot", ["read"], expires_in_days=1)
    bot = Client(system.url, key.key)
    assert bot.balance().available_inr == 0
    with pytest.raises(errors.InsufficientScope):
        bot.buy(inr=100)
    assert [each.id for each in client.api_keys()] == [key.id]
    client.revoke_api_key(key.id)
    with pytest.raises(errors.TokenInvalid):
        bot.balance()
    client.change_password(NEW_PASSWORD, current_password=PASSWORD)
    actions = [each.action for each in itertools.islice(client.activity(), 3)]
    assert "password_changed" in actions
    client.logout()
    assert client.token is None
    with pytest.raises(errors.TokenMissing):
        client.balance()
    client.login(f"x{email}", NEW_PASSWORD)
    client.logout_all()


def test_trades_quotes_and_receipts(client: Client) -> None:
    before = client.balance()
    preview = client.preview("buy", inr=1000)
    trade = client.buy(inr=1000, expected_price=preview.execution_price, max_slippage_bps=100)
    assert (trade.btc_amount, trade.is_replay) == (preview.btc_amount, False)
    assert client.balance().available_inr == before.available_inr - 1000
    keys = Keys.new("my-own-name")
    held = client.quote()
    sold = client.sell(satoshis=10_000, quote=held, keys=keys)
    assert (sold.quote_id, sold.execution_price) == (held.quote_id, held.sell_rate_inr)
    again = client.sell(satoshis=10_000, quote=held, keys=keys)
    assert (again.id, again.is_replay) == (sold.id, True)
    found = client.find_transaction("my-own-name")
    assert found is not None
    assert (found.id, client.find_transaction("nobody-s")) == (sold.id, None)
    with pytest.raises(errors.QuoteUsed):
        client.sell(satoshis=10_000, quote=held)
    with pytest.raises(errors.ClientOrderIdReused):
        client.buy(inr=100, keys=Keys("another-key", "my-own-name"))
    with pytest.raises(errors.InsufficientFunds) as refused:
        client.buy(inr=1_000_000)
    assert refused.value.facts["required"] == 1_000_000
    assert refused.value.keys.client_order_id.startswith("py-")
    receipt = client.receipt(trade.id)
    assert (receipt.recomputed, receipt.inr_amount) == (True, 1000)
    assert client.transaction(trade.id).inr_change == -1000


def test_limit_orders(client: Client) -> None:
    assert client.preview_order("buy", FAR_BELOW, inr=1000).inr_amount == 1000
    until = datetime.now(UTC) + timedelta(hours=1)
    first = client.place_order("buy", FAR_BELOW, inr=1000, expires_at=until)
    second = client.place_order("buy", FAR_BELOW, btc=Decimal("0.0001"))
    assert (first.status, first.reserved_inr) == ("OPEN", 1000)
    assert [order.id for order in client.orders("OPEN")] == [second.id, first.id]
    assert client.order(first.id).expires_at is not None
    assert client.cancel_order(first.id).status == "CANCELLED"
    with pytest.raises(errors.OrderNotOpen) as refused:
        client.cancel_order(first.id)
    assert refused.value.facts["order"]["status"] == "CANCELLED"
    assert [order.id for order in client.cancel_all_orders()] == [second.id]
    with pytest.raises(errors.OrderNotFound):
        client.order(10**9)
    with pytest.raises(errors.InvalidLimitPrice):
        client.place_order("buy", 1, inr=1000)


def test_plans_transfers_and_loans(system: System, client: Client) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    plan = client.create_plan("buy", "weekly", inr=500, runs=3, start_at=later, time_zone="Asia/Kolkata")
    assert (plan.status, plan.remaining_executions) == ("ACTIVE", 3)
    assert client.pause_plan(plan.id).status == "PAUSED"
    assert client.resume_plan(plan.id).status == "ACTIVE"
    assert client.plan_runs(plan.id) == []
    assert [each.id for each in client.plans()] == [plan.id]
    client.end_plan(plan.id)
    assert client.plans() == []
    sent = client.send(system.new_person().email, satoshis=1000)
    assert (sent.currency, sent.btc_amount) == ("btc", 1000)
    with pytest.raises(errors.RecipientNotFound):
        client.send("nobody@example.com", inr=10)
    assert client.loan_terms().max_ltv_pct > 0
    loan = client.create_loan(satoshis=100_000, borrow_inr=1000)
    assert client.borrow(loan.id, inr=100).borrowed_inr == 1100
    assert client.add_collateral(loan.id, satoshis=5000).collateral_btc == 105_000
    assert client.withdraw_collateral(loan.id, satoshis=5000).collateral_btc == 100_000
    with pytest.raises(errors.LtvTooHigh):
        client.borrow(loan.id, inr=50_000)
    client.repay(loan.id, inr=2000)
    assert client.loan(loan.id).debt_inr == 0
    assert [each.id for each in client.loans()] == [loan.id]


def test_history_statement_and_exports(client: Client) -> None:
    for _ in range(3):
        client.buy(inr=100)
    client.place_order("buy", FAR_BELOW, inr=1000)
    newest = list(client.transactions())
    assert newest[0].status == "PENDING"
    settled = [row.id for row in newest if row.status != "PENDING"]
    assert [row.id for row in client.transactions_after()] == settled[::-1]
    assert [row.id for row in client.transactions_after(settled[1])] == settled[:1]
    assert {row.type for row in client.transactions(type="MARKET_BUY")} == {"MARKET_BUY"}
    entries = list(client.ledger(oldest_first=True))
    assert [entry.id for entry in client.ledger()] == [entry.id for entry in entries][::-1]
    balances = {entry.account: entry.balance for entry in entries}
    held = client.balance()
    assert (balances["available_inr"], balances["reserved_inr"]) == (held.available_inr, held.reserved_inr)
    written = io.StringIO()
    assert client.export(written) == len(newest)
    assert written.getvalue().startswith("id,")
    assert client.export_ledger(io.StringIO()) == len(entries)
    assert client.portfolio().holdings_btc == held.available_btc
    missed = client.events(after=held.seq - 2)
    assert (missed.complete, [row.seq for row in missed.transactions]) == (True, [held.seq - 1, held.seq])


# --- ccxt's shapes ------------------------------------------------------------------------------------------------

TICKER = {
    *(
        "symbol",
        "timestamp",
        "datetime",
        "high",
        "low",
        "bid",
        "bidVolume",
        "ask",
        "askVolume",
        "vwap",
        "open",
    ),
    *(
        "close",
        "last",
        "previousClose",
        "change",
        "percentage",
        "average",
        "baseVolume",
        "quoteVolume",
        "info",
    ),
}
ORDER = {
    *("id", "clientOrderId", "datetime", "timestamp", "lastTradeTimestamp", "lastUpdateTimestamp", "status"),
    *("symbol", "type", "timeInForce", "side", "price", "average", "amount", "filled", "remaining", "cost"),
    *("stopPrice", "takeProfitPrice", "stopLossPrice", "trades", "fee", "info"),
}
TRADE = {
    *("info", "amount", "datetime", "id", "order", "price", "timestamp", "type", "side", "symbol"),
    *("takerOrMaker", "cost", "fee"),
}
LEDGER = {
    *(
        "info",
        "id",
        "timestamp",
        "datetime",
        "direction",
        "account",
        "referenceId",
        "referenceAccount",
        "type",
    ),
    *("currency", "amount", "before", "after", "status", "fee"),
}
MARKET = {
    *(
        "id",
        "symbol",
        "base",
        "quote",
        "baseId",
        "quoteId",
        "active",
        "type",
        "spot",
        "margin",
        "swap",
        "future",
    ),
    *(
        "option",
        "contract",
        "taker",
        "maker",
        "percentage",
        "tierBased",
        "feeSide",
        "precision",
        "limits",
        "info",
    ),
}


@pytest.fixture
def exchange(client: Client) -> Exchange:
    return Exchange(client)


def test_ccxt_s_market_data(exchange: Exchange) -> None:
    market = exchange.loadMarkets()["BTC/INR"]
    assert set(market) >= MARKET
    assert market["precision"] == {"amount": Decimal("1E-8"), "price": 1, "cost": 1}
    assert exchange.load_markets() is exchange.markets
    ticker = exchange.fetchTicker("BTC/INR")
    assert set(ticker) == TICKER
    assert ticker["low"] <= ticker["last"] == ticker["ask"] <= ticker["high"]
    assert ticker["bid"] < ticker["ask"]
    assert abs(exchange.fetchTime() - datetime.now(UTC).timestamp() * 1000) < 300_000
    with pytest.raises(errors.InvalidInput):
        exchange.fetch_ticker("ETH/INR")


def test_ccxt_s_candles_with_since(exchange: Exchange) -> None:
    latest = exchange.fetchOHLCV("BTC/INR", "1m")
    assert latest == sorted(latest)
    assert {len(candle) for candle in latest} == {6}
    since = latest[-1][0]
    assert [candle[0] for candle in exchange.fetch_ohlcv("BTC/INR", "1m", since=since, limit=1)] == [since]
    assert exchange.fetch_ohlcv("BTC/INR", "1m", since=0, limit=1)[0] == latest[0]
    begin, opened, high, low, close, volume = Exchange(exchange.client, number=float).fetch_ohlcv()[0]
    assert low <= min(opened, close) <= max(opened, close) <= high
    assert (begin % 60_000, volume, type(close)) == (0, 0, float)


def test_ccxt_s_balance_and_orders(exchange: Exchange) -> None:
    before = exchange.fetchBalance()
    order = exchange.createOrder("BTC/INR", "limit", "buy", "0.0005", FAR_BELOW, {"clientOrderId": "c-1"})
    assert set(order) == ORDER
    assert (order["status"], order["side"], order["clientOrderId"]) == ("open", "buy", "c-1")
    assert (order["amount"], order["filled"], order["remaining"]) == (Decimal("0.0005"), 0, Decimal("0.0005"))
    held = exchange.fetchBalance()
    assert held["INR"]["used"] - before["INR"]["used"] == 1750
    assert held["INR"]["total"] == before["INR"]["total"] == held["total"]["INR"]
    assert [each["id"] for each in exchange.fetchOpenOrders("BTC/INR")] == [order["id"]]
    assert exchange.fetchOrder(order["id"])["status"] == "open"
    assert exchange.cancelOrder(order["id"])["status"] == "canceled"
    assert exchange.fetchOpenOrders() == []
    with pytest.raises(TypeError):
        exchange.create_order("BTC/INR", "limit", "buy", 0.0005, FAR_BELOW)  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidInput):
        exchange.create_order("BTC/INR", "limit", "buy", 1)


def test_ccxt_s_market_orders_trades_and_ledger(exchange: Exchange) -> None:
    since = exchange.fetch_time()
    spent = exchange.create_order("BTC/INR", "market", "buy", 0, None, {"cost": 1000})
    sold = exchange.create_order("BTC/INR", "market", "sell", Decimal("0.0001"))
    assert set(spent) == ORDER
    assert (spent["status"], spent["cost"], spent["remaining"]) == ("closed", 1000, 0)
    assert exchange.fetch_order(spent["id"])["filled"] == spent["filled"]
    trades = exchange.fetchMyTrades("BTC/INR", since=since)
    assert [(each["id"], each["side"]) for each in trades] == [(spent["id"], "buy"), (sold["id"], "sell")]
    assert set(trades[0]) == TRADE
    assert len(exchange.fetch_my_trades(limit=2)) == 2
    ledger = exchange.fetchLedger("INR", since=since)
    assert set(ledger[0]) == LEDGER
    assert [(each["referenceId"], each["direction"]) for each in ledger] == [
        (spent["id"], "out"),
        (sold["id"], "in"),
    ]
    assert ledger[-1]["after"] == exchange.fetch_balance()["INR"]["free"]
    assert [each["type"] for each in exchange.fetch_ledger(limit=2)] == ["trade", "trade"]
    with pytest.raises(errors.TransactionNotFound):
        exchange.fetch_order("999999999")


# --- The README ---------------------------------------------------------------------------------------------------


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def run(code: str, system: System, token: str, folder: Path) -> "subprocess.Popen[str]":
    code = code.replace("http://127.0.0.1:3001", system.url).replace("bt_…", token)
    environment = os.environ | {
        "PYTHONPATH": str(SOURCE),
        "BITTRADE_URL": system.url,
        "BITTRADE_TOKEN": token,
    }
    return subprocess.Popen(
        [sys.executable, "-u", "-c", code], env=environment, cwd=folder, stdout=subprocess.PIPE, text=True
    )


def test_the_bot_of_five_lines_buys(system: System, person: Person, client: Client, tmp_path: Path) -> None:
    code = blocks("python")[0]
    assert len([line for line in code.splitlines() if line.strip()]) == 5
    key = client.create_api_key("bot", ["read", "trade"])
    bot = run(code, system, key.key or "", tmp_path)
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.append(bot.stdout.readline()), daemon=True)  # type: ignore[union-attr]
    reader.start()
    try:
        wait_until(lambda: said, "the bot has bought")
    finally:
        bot.kill()
        bot.wait()
    assert re.fullmatch(r"bought \d+ satoshis\n", said[0])
    bought = [row.inr_amount for row in client.transactions(type="MARKET_BUY")]
    assert bought[:2] == [1000, 20_000]


@pytest.mark.parametrize("number", range(1, 4))
def test_its_other_programs_run(system: System, person: Person, tmp_path: Path, number: int) -> None:
    program = run(blocks("python")[number], system, person.token, tmp_path)
    said, _ = program.communicate(timeout=180)
    assert program.returncode == 0
    assert said.splitlines()[-1].split()[0] in ("True", "now", "canceled")


def test_its_table_names_every_method() -> None:
    table = README.partition("## The whole of it")[2].partition("## ")[0]
    named = set(re.findall(r"`(\w+)`", table))
    public = {
        name
        for name in dir(Client)
        if not name.startswith("_") and name not in ("close", "token", "url", "watch")
    }
    assert named == public


def test_its_commands_can_be_typed(system: System, person: Person, tmp_path: Path) -> None:
    assert len(blocks("python")) == 4
    environment = os.environ | {
        "PYTHONPATH": str(SOURCE),
        "BITTRADE_URL": system.url,
        "BITTRADE_TOKEN": person.token,
    }
    (script,) = blocks("sh")
    function = f'bittrade() {{ "{sys.executable}" -m bittrade_client "$@"; }}\n'
    typed = subprocess.run(
        ["bash", "-euc", function + script],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert typed.returncode == 0, typed.stderr
    assert "Bought ₿" in typed.stdout
    assert (tmp_path / "history.csv").read_text().startswith("id,")


def test_no_example_waits_for_a_real_key() -> None:
    assert re.findall(r"bt_[A-Za-z0-9]", README) == []
