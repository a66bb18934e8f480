"""The command `bittrade`: what can be asked, and how it is printed. `--json` prints what the server said."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from bittrade_client import commands, store
from bittrade_client.client import DEFAULT_URL, Client
from bittrade_client.commands import Context
from bittrade_client.errors import ApiError, BitTradeError, NotAllowed
from bittrade_client.terminal import RED, Screen

REFUSED, INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status: 0, 1 where it was refused, 2 where it was not understood."""
    wanted = _parser().parse_args(arguments)
    is_json = getattr(wanted, "json", False)
    try:
        wanted.run(_context(wanted, is_json=is_json), wanted)
    except (BitTradeError, ValueError, TypeError) as error:
        _complain(error, is_json=is_json)
        return REFUSED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `bittrade history | head`
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _context(wanted: argparse.Namespace, *, is_json: bool) -> Context:
    token = os.environ.get("BITTRADE_TOKEN")
    login = None if token or wanted.run is commands.login else store.load()
    url = getattr(wanted, "url", None) or os.environ.get("BITTRADE_URL")
    if login is not None and url not in (None, login.url):
        login = None  # a token goes to the server that gave it, and to no other
    address = url or (login.url if login else DEFAULT_URL)
    return Context(Client(address, token or (login.token if login else None)), Screen(), is_json)


def _complain(error: Exception, *, is_json: bool) -> None:
    if is_json:
        code = error.code if isinstance(error, ApiError) else "client_error"
        facts = error.facts if isinstance(error, ApiError) else {}
        print(json.dumps({"error": str(error), "code": code, **facts}, default=float))
        return
    screen = Screen(sys.stderr)
    screen.line(screen.paint(f"bittrade: {error}", RED))
    if isinstance(error, NotAllowed):
        screen.line("Log in with: bittrade login EMAIL (or set BITTRADE_TOKEN)")
    if getattr(error, "keys", None):
        screen.line(f"The order's name was {error.keys.client_order_id}")  # type: ignore[attr-defined]


# --- What can be typed ----------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    common.add_argument(
        "--url",
        default=argparse.SUPPRESS,
        help=f"the server; else BITTRADE_URL, the login's, or {DEFAULT_URL}",
    )
    parser = argparse.ArgumentParser(
        prog="bittrade", description="Buy and sell bitcoin against rupees.", parents=[common]
    )
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)

    def verb(name: str, run: Any, help: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=help, description=help, parents=[common])
        made.set_defaults(run=run)
        return made

    login = verb("login", commands.login, "get a token, and keep it in a file of yours alone")
    login.add_argument("email")
    login.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    verb("logout", commands.logout, "end the token, and forget it")
    verb("price", commands.price, "the rates of now")
    watch = verb("watch", commands.watch, "prices and your own events, as they come")
    watch.add_argument("--after", type=int, help="tell also what happened since this seq")
    watch.add_argument("--count", type=int, help="end after so many events")
    watch.add_argument("--poll", type=float, help="ask each so many seconds, in place of a socket")
    verb("quote", commands.quote, "hold the rates of now for some seconds")
    for side in ("buy", "sell"):
        _add_trade(verb(side, commands.trade, f"{side} bitcoin"), side)
    verb("balance", commands.balance, "what you hold")
    history = verb("history", commands.history, "your transactions")
    history.add_argument("--limit", type=int, default=20)
    history.add_argument("--type", help="MARKET_BUY, DEPOSIT, …")
    export = verb("export", commands.export, "all of your history, as CSV")
    export.add_argument("--output", "-o", help="a file; else standard output")
    export.add_argument(
        "--ledger", action="store_true", help="each account's movements in place of transactions"
    )
    receipt = verb("receipt", commands.receipt, "where a trade's price came from")
    receipt.add_argument("id", type=int)
    _add_orders(verb("orders", commands.list_orders, "limit orders: list, cancel, cancel-all"))
    _add_plans(verb("plans", commands.list_plans, "recurring plans: list, create, runs, pause, resume, end"))
    return parser


def _add_trade(parser: argparse.ArgumentParser, side: str) -> None:
    parser.set_defaults(side=side)
    parser.add_argument("amount", type=_decimal)
    parser.add_argument("currency", choices=("inr", "btc"))
    parser.add_argument("--limit", type=int, help="a limit order at so many rupees for one bitcoin")
    parser.add_argument(
        "--expires", type=_moment, help="when the limit order ends by itself: 2030-01-31T12:00:00Z"
    )
    parser.add_argument("--quote", help="at a quote's rates")
    parser.add_argument("--expected-price", type=int, help="refuse a worse price")
    parser.add_argument("--max-slippage-bps", type=int, help="how much worse is still fine; 1 is 0.01 %%")
    parser.add_argument("--id", help="your own name for it: the same name twice executes once")
    parser.add_argument("--preview", action="store_true", help="show what it would do, and do nothing")


def _add_orders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", choices=("list", "cancel", "cancel-all"), default="list")
    parser.add_argument("id", nargs="?", type=int)
    parser.add_argument("--status", choices=("OPEN", "FILLED", "CANCELLED", "EXPIRED"))


def _add_plans(parser: argparse.ArgumentParser) -> None:
    verbs = ("list", "create", "runs", "pause", "resume", "end")
    parser.add_argument("what", nargs="?", choices=verbs, default="list")
    parser.add_argument("id", nargs="?", type=int)
    parser.add_argument("--side", choices=("buy", "sell"), default="buy")
    parser.add_argument("--every", choices=("hour", "day", "week", "month"), default="day")
    parser.add_argument("--inr", type=_decimal)
    parser.add_argument("--btc", type=_decimal)
    parser.add_argument("--runs", type=int, help="how often; else for ever")
    parser.add_argument("--max-price", type=int)
    parser.add_argument("--min-price", type=int)


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise argparse.ArgumentTypeError(f"not a number: {text!r}") from error


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError("a time needs a zone: 2030-01-31T12:00:00Z")
    return moment


if __name__ == "__main__":
    sys.exit(main())
