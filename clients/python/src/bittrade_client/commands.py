"""What each command does: one call or two, then JSON or lines. `cli` says what can be typed."""

import argparse
import getpass
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from bittrade_client import store
from bittrade_client import watch as watching
from bittrade_client.asking import Keys
from bittrade_client.client import Client
from bittrade_client.errors import InvalidInput
from bittrade_client.models import Holdings, Order, Plan, Rates, Transaction
from bittrade_client.store import Login
from bittrade_client.terminal import DIM, GREEN, RED, Screen, bitcoin, clock, rupees

FREQUENCIES = {"hour": "HOURLY", "day": "DAILY", "week": "WEEKLY", "month": "MONTHLY"}
Wanted = argparse.Namespace


@dataclass(frozen=True, slots=True)
class Context:
    """Whom to ask, and where the answer goes."""

    client: Client
    screen: Screen
    is_json: bool

    def tell(self, said: Any, *lines: str) -> None:
        """Print what the server said as JSON, or the lines."""
        if self.is_json:
            self.screen.line(json.dumps(said, default=float, ensure_ascii=False))
        else:
            for line in lines:
                self.screen.line(line)


# --- logging in ---------------------------------------------------------------------------------------------------


def login(context: Context, wanted: Wanted) -> None:
    password = sys.stdin.readline().rstrip("\n") if wanted.password_stdin else getpass.getpass()
    user = context.client.login(wanted.email, password)
    place = store.save(Login(context.client.url, context.client.token or "", user.email))
    context.tell({"user": user.raw, "file": str(place)}, f"Logged in as {user.name}. The token is in {place}")


def logout(context: Context, wanted: Wanted) -> None:
    if context.client.token is not None:
        context.client.logout()
    store.forget()
    context.tell({"message": "Logged out"}, "Logged out")


# --- prices -------------------------------------------------------------------------------------------------------


def price(context: Context, wanted: Wanted) -> None:
    rates = context.client.price()
    context.tell(rates.raw, _rates(context.screen, rates), _age(context.screen, rates))


def _rates(screen: Screen, rates: Rates, before: Rates | None = None) -> str:
    style = ""
    if before is not None and before.buy_rate_inr != rates.buy_rate_inr:
        style = GREEN if rates.buy_rate_inr > before.buy_rate_inr else RED
    text = f"buy {rupees(rates.buy_rate_inr)}  sell {rupees(rates.sell_rate_inr)}  (${rates.btc_usd_price:,})"
    return screen.paint(text, style) if style else text


def _age(screen: Screen, rates: Rates) -> str:
    if rates.stale:
        return screen.paint("too old to trade on", RED)
    return screen.paint(f"{(rates.age_ms or 0) / 1000:.1f} s old, from {rates.source}", DIM)


def quote(context: Context, wanted: Wanted) -> None:
    held = context.client.quote()
    context.tell(
        held.raw,
        f"buy {rupees(held.buy_rate_inr)}  sell {rupees(held.sell_rate_inr)}  until {clock(held.expires_at)}",
        f"bittrade buy 1000 inr --quote {held.quote_id}",
    )


def watch(context: Context, wanted: Wanted) -> None:
    events = iter(context.client.watch(after=wanted.after, poll_s=wanted.poll))
    before: Rates | None = None
    try:
        for event in islice(events, wanted.count):
            if context.is_json:
                context.tell(_json_of(event))
            elif isinstance(event, watching.PriceChanged):
                context.screen.live(_rates(context.screen, event.rates, before))
                before = event.rates
            else:
                context.screen.line(_line_of(context.screen, event))
    finally:
        context.screen.end_live()


def _json_of(event: watching.Event) -> dict[str, Any]:
    match event:
        case watching.PriceChanged(rates):
            return {"event": "price", **rates.raw}
        case watching.TransactionMade(transaction):
            return {"event": "transaction", **transaction.raw}
        case watching.OrderChanged(order):
            return {"event": "order", **order.raw}
        case watching.LoanChanged(loan):
            return {"event": "loan", **loan.raw}
        case watching.BalanceChanged(balance):
            return {"event": "balance", **balance.raw}
        case watching.Disconnected(reason):
            return {"event": "disconnected", "reason": reason}
    return {"event": "connected"}


def _line_of(screen: Screen, event: watching.Event) -> str:
    match event:
        case watching.TransactionMade(transaction):
            return "  ".join(cell for cell in _transaction(transaction) if cell)
        case watching.OrderChanged(order):
            return f"order {order.id} is {order.status}: {order.type} at {rupees(order.limit_price)}"
        case watching.LoanChanged(loan):
            return f"loan {loan.id} is {loan.status}: {rupees(loan.debt_inr)} owed"
        case watching.BalanceChanged(balance):
            return f"{rupees(balance.available_inr)}  {bitcoin(balance.available_btc)}"
        case watching.Disconnected(reason):
            return screen.paint(f"disconnected: {reason}", RED)
    return screen.paint("connected", DIM)


# --- trading ------------------------------------------------------------------------------------------------------


def trade(context: Context, wanted: Wanted) -> None:
    amount: dict[str, Any] = {wanted.currency: wanted.amount}
    keys = Keys(f"cli-{wanted.id}", wanted.id) if wanted.id else Keys.new()
    client = context.client
    if wanted.limit is not None:
        if wanted.preview:
            seen = client.preview_order(wanted.side, wanted.limit, **amount)
            context.tell(seen.raw, f"Would reserve: {_held(seen.updated_balance)} would be left")
            return
        order = client.place_order(wanted.side, wanted.limit, **amount, expires_at=wanted.expires, keys=keys)
        context.tell(
            order.raw, f"Order {order.id} is {order.status}: {order.type} at {rupees(order.limit_price)}"
        )
        return
    if wanted.preview:
        seen = client.preview(wanted.side, **amount)
        context.tell(
            seen.raw, f"Would {wanted.side} {bitcoin(seen.btc_amount)} for {rupees(seen.inr_amount)}"
        )
        return
    done = client.trade(
        wanted.side,
        **amount,
        quote=wanted.quote,
        expected_price=wanted.expected_price,
        max_slippage_bps=wanted.max_slippage_bps,
        keys=keys,
    )
    word = "Bought" if wanted.side == "buy" else "Sold"
    context.tell(
        done.raw,
        f"{word} {bitcoin(done.btc_amount)} for {rupees(done.inr_amount)} (transaction {done.id})",
        f"You have {_held(done.updated_balance)}",
    )


def list_orders(context: Context, wanted: Wanted) -> None:
    client = context.client
    if wanted.what == "cancel":
        order = client.cancel_order(_number(wanted))
        context.tell(order.raw, f"Order {order.id} is {order.status}")
        return
    orders = client.cancel_all_orders() if wanted.what == "cancel-all" else list(client.orders(wanted.status))
    if context.is_json:
        context.tell({"orders": [order.raw for order in orders]})
        return
    _table(context, ("id", "type", "status", "limit", "amount", "placed"), map(_order, orders))


def _order(order: Order) -> tuple[str, ...]:
    amount = rupees(order.amount) if order.currency == "inr" else bitcoin(order.amount)
    return (
        str(order.id),
        order.type,
        order.status,
        rupees(order.limit_price),
        amount,
        clock(order.created_at),
    )


def list_plans(context: Context, wanted: Wanted) -> None:
    client = context.client
    if wanted.what == "list":
        plans = client.plans()
        if context.is_json:
            context.tell({"plans": [plan.raw for plan in plans]})
        else:
            _table(context, ("id", "type", "every", "status", "amount", "next", "runs"), map(_plan, plans))
    elif wanted.what == "create":
        plan = client.create_plan(
            wanted.side,
            FREQUENCIES[wanted.every],
            inr=wanted.inr,
            btc=wanted.btc,
            runs=wanted.runs,
            max_price=wanted.max_price,
            min_price=wanted.min_price,
        )
        context.tell(
            plan.raw, f"Plan {plan.id} is {plan.status}; the next run is at {clock(plan.next_execution_at)}"
        )
    elif wanted.what == "runs":
        runs = client.plan_runs(_number(wanted))
        if context.is_json:
            context.tell({"runs": [run.raw for run in runs]})
        else:
            rows = (
                (clock(run.due_at), run.outcome, run.reason or "", rupees(run.inr_amount)) for run in runs
            )
            _table(context, ("due", "outcome", "why", "amount"), rows)
    elif wanted.what == "end":
        client.end_plan(_number(wanted))
        context.tell({"message": "Plan ended", "planId": wanted.id}, f"Plan {wanted.id} has ended")
    else:
        change = client.pause_plan if wanted.what == "pause" else client.resume_plan
        plan = change(_number(wanted))
        context.tell(plan.raw, f"Plan {plan.id} is {plan.status}")


def _plan(plan: Plan) -> tuple[str, ...]:
    amount = rupees(plan.amount_per_execution_inr) or bitcoin(plan.amount_per_execution_btc)
    runs = str(plan.performance.total_executed)
    return (
        str(plan.id),
        plan.plan_type,
        plan.frequency,
        plan.status,
        amount,
        clock(plan.next_execution_at),
        runs,
    )


# --- what is and was ----------------------------------------------------------------------------------------------


def balance(context: Context, wanted: Wanted) -> None:
    held = context.client.balance()
    lines = [f"available   {rupees(held.available_inr)}  {bitcoin(held.available_btc)}"]
    if held.reserved_inr or held.reserved_btc:
        lines.append(f"in orders   {rupees(held.reserved_inr)}  {bitcoin(held.reserved_btc)}")
    if held.collateral_btc or held.borrowed_inr or held.interest_accrued:
        owed = held.borrowed_inr + held.interest_accrued
        lines.append(f"in loans    {bitcoin(held.collateral_btc)}, {rupees(owed)} owed")
    context.tell(held.raw, *lines)


def _held(balance: Holdings) -> str:
    return f"{rupees(balance.available_inr)} and {bitcoin(balance.available_btc)}"


def history(context: Context, wanted: Wanted) -> None:
    rows = list(islice(context.client.transactions(type=wanted.type), wanted.limit))
    if context.is_json:
        context.tell({"transactions": [row.raw for row in rows]})
    else:
        _table(
            context, ("id", "time", "type", "status", "rupees", "bitcoin", "price"), map(_transaction, rows)
        )


def _transaction(row: Transaction) -> tuple[str, ...]:
    inr = rupees(row.inr_change or row.inr_amount) if row.inr_amount else ""
    btc = bitcoin(row.btc_change or row.btc_amount) if row.btc_amount else ""
    return (
        str(row.id),
        clock(row.created_at),
        row.type,
        row.status,
        inr,
        btc,
        rupees(row.execution_price),
    )


def export(context: Context, wanted: Wanted) -> None:
    client = context.client
    if context.is_json and wanted.output is None:
        rows = client.ledger(oldest_first=True) if wanted.ledger else client.transactions()
        for row in rows:
            context.tell(row.raw)
        return
    write = client.export_ledger if wanted.ledger else client.export
    if wanted.output is None:
        write(context.screen.out)
        return
    with open(wanted.output, "w", newline="", encoding="utf-8") as file:
        count = write(file)
    context.tell({"rows": count, "file": wanted.output}, f"{count} rows in {wanted.output}")


def receipt(context: Context, wanted: Wanted) -> None:
    shown = context.client.receipt(wanted.id)
    verdict = "follows from it" if shown.recomputed else "DOES NOT FOLLOW FROM IT"
    context.tell(
        shown.raw,
        f"{bitcoin(shown.btc_amount)} for {rupees(shown.inr_amount)}, at {rupees(shown.execution_price)} for one",
        f"${shown.btc_usd_price:,} from {shown.source} as of {clock(shown.as_of)}, {shown.age_ms / 1000:.1f} s old",
        f"× {shown.buy_multiplier} to buy, × {shown.sell_multiplier} to sell; {shown.rounding}; spread {rupees(shown.spread_inr)}",
        f"The trade {verdict}",
    )


def _number(wanted: Wanted) -> int:
    if wanted.id is None:
        raise InvalidInput(f"{wanted.what} needs an id")
    return int(wanted.id)


def _table(context: Context, heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    context.screen.table(heads, list(rows))
