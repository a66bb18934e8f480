"""The client without a server: what it refuses to send, what it asks again, what it makes of answers; and its own checks."""

import ast
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from bittrade_client import ApiError, Client, Keys, Retry, Unreachable, errors, models
from bittrade_client.errors import UnexpectedAnswer
from bittrade_client.history import History
from bittrade_client.money import read_amount
from bittrade_client.terminal import Screen, bitcoin, rupees
from bittrade_client.watch import TransactionMade, Watch

from bittrade.api.errors import HTTP_CODES, STATUS
from tests.clients.conftest import SOURCE
from tests.fixtures import ROOT, openapi_document

QUICK = Retry(attempts=4, for_s=30, first_pause_s=0.001, longest_pause_s=0.002)
BALANCE = {"available_inr": 9000, "available_btc": 24_420, "seq": 3}
TRADE = {
    **{"id": 7, "type": "MARKET_BUY", "status": "EXECUTED", "inr_amount": 1000, "btc_amount": 24_420},
    **{"execution_price": 4_095_000, "seq": 3, "updated_balance": BALANCE},
}


# --- Amounts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"inr": 1000}, ("inr", "1000")),
        ({"inr": Decimal("1000.00")}, ("inr", "1000")),
        ({"btc": Decimal("0.0005")}, ("btc", "0.00050000")),
        ({"btc": 2}, ("btc", "2.00000000")),
        ({"satoshis": 1}, ("btc", "0.00000001")),
        ({"btc": Decimal("1e-8")}, ("btc", "0.00000001")),
    ],
)
def test_an_amount_is_sent_exactly(given: dict[str, Any], sent: tuple[str, str]) -> None:
    amount = read_amount(**given)
    assert (amount.currency, amount.text) == sent


@pytest.mark.parametrize("given", [{"inr": 1000.0}, {"btc": 0.0005}, {"inr": True}, {"inr": "1000"}])
def test_a_float_is_refused_before_anything_is_sent(given: dict[str, Any]) -> None:
    client = Client("http://127.0.0.1:9", "token")
    for ask in (client.buy, client.sell):
        with pytest.raises(TypeError, match="int or a Decimal"):
            ask(**given)
    with pytest.raises(TypeError):
        client.place_order("buy", 4_000_000, **given)
    with pytest.raises(TypeError):
        client.place_order("buy", 4_000_000.0, inr=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        client.create_plan("buy", "DAILY", **given)
    with pytest.raises(TypeError):
        client.send("a@example.com", **given)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"inr": 1, "btc": 1},
        {"inr": 0},
        {"inr": -5},
        {"inr": Decimal("0.5")},
        {"btc": Decimal("1e-9")},
        {"satoshis": Decimal("0.5")},
        {"btc": Decimal("NaN")},
    ],
)
def test_what_is_no_amount_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"one of|above zero|parts of|a number"):
        read_amount(**given)


# --- Asking again -------------------------------------------------------------------------------------------------


@dataclass
class Server:
    """Answers what it is told to, one after the other; the last for ever. None breaks off the connection."""

    url: str = ""
    answers: list[tuple[int, Any, dict[str, str]] | None] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)

    def then(self, status: int, body: Any, **headers: str) -> "Server":
        self.answers.append(
            (status, body, {name.replace("_", "-"): value for name, value in headers.items()})
        )
        return self

    def then_break(self) -> "Server":
        self.answers.append(None)
        return self


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            told.asked.append(
                (self.command, self.path, dict(self.headers), json.loads(body) if body else None)
            )
            answer = told.answers.pop(0) if len(told.answers) > 1 else told.answers[0]
            if answer is None:
                self.close_connection = True
                return
            status, said, headers = answer
            text = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

        def log_message(self, *_arguments: Any) -> None:
            """Nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
    told.url = f"http://127.0.0.1:{listening.server_port}"
    yield told
    listening.shutdown()
    listening.server_close()


def client_of(server: Server) -> Client:
    return Client(server.url, "token", retry=QUICK)


def refusal(code: str, **facts: Any) -> dict[str, Any]:
    return {"error": "for people", "code": code, **facts}


def test_an_order_has_its_keys_before_it_is_sent_and_keeps_them(server: Server) -> None:
    server.then_break().then(503, refusal("outcome_unknown")).then(502, b"<html>").then(
        201, TRADE, Idempotent_Replayed="true"
    )
    keys = Keys.new()
    trade = client_of(server).buy(inr=1000, keys=keys)
    assert trade.is_replay
    assert (trade.btc_amount, trade.updated_balance.available_inr) == (24_420, 9000)
    assert len(server.asked) == 4
    sent = {(headers["Idempotency-Key"], json.dumps(body)) for _, _, headers, body in server.asked}
    body = {"action": "buy", "type": "market", "amount": "1000", "currency": "inr"}
    assert sent == {(keys.idempotency_key, json.dumps({**body, "client_order_id": keys.client_order_id}))}


def test_two_orders_never_share_their_keys(server: Server) -> None:
    server.then(201, TRADE)
    client = client_of(server)
    client.buy(inr=1000)
    client.buy(inr=1000)
    names = {(headers["Idempotency-Key"], body["client_order_id"]) for _, _, headers, body in server.asked}
    assert len(names) == 2


def test_asking_again_has_an_end_and_the_error_carries_the_keys(server: Server) -> None:
    server.then_break()
    with pytest.raises(Unreachable) as refused:
        client_of(server).buy(inr=1000)
    assert len(server.asked) == QUICK.attempts
    keys = refused.value.keys
    assert server.asked[0][2]["Idempotency-Key"] == keys.idempotency_key


def test_retry_after_is_waited_for(server: Server) -> None:
    server.then(429, refusal("rate_limited"), Retry_After="1").then(201, TRADE)
    began = time.monotonic()
    client_of(server).buy(inr=1000)
    assert time.monotonic() - began >= 1


def test_a_retry_after_of_beyond_the_end_is_not(server: Server) -> None:
    server.then(429, refusal("rate_limited"), Retry_After="3600")
    with pytest.raises(errors.RateLimited) as refused:
        client_of(server).buy(inr=1000)
    assert refused.value.retry_after_s == 3600
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "insufficient_funds", errors.InsufficientFunds),
        (409, "price_moved", errors.PriceMoved),
        (503, "trading_halted", errors.TradingHalted),
        (503, "rates_unavailable", errors.RatesUnavailable),
        (403, "token_invalid", errors.TokenInvalid),
        (500, "internal_error", errors.InternalError),
    ],
)
def test_a_refusal_is_not_asked_again_and_has_its_class(
    server: Server, status: int, code: str, kind: type[ApiError]
) -> None:
    server.then(status, refusal(code, required=5), X_Request_Id="r-1", Retry_After="0")
    with pytest.raises(kind) as refused:
        client_of(server).buy(inr=1000)
    assert type(refused.value) is kind
    assert (refused.value.status, refused.value.facts, refused.value.request_id) == (
        status,
        {"required": 5},
        "r-1",
    )
    assert len(server.asked) == 1


def test_what_has_no_key_is_not_done_twice(server: Server) -> None:
    for ask in (
        lambda: client_of(server).login("a@example.com", "words"),
        lambda: client_of(server).create_api_key("bot", ["read"]),
    ):
        server.answers, server.asked = [None], []
        with pytest.raises(Unreachable):
            ask()
        assert len(server.asked) == 1
        server.answers, server.asked = [(503, refusal("outcome_unknown"), {})], []
        with pytest.raises(errors.OutcomeUnknown):
            ask()
        assert len(server.asked) == 1


def test_a_cancellation_whose_answer_was_lost_is_a_cancellation(server: Server) -> None:
    order: dict[str, Any] = dict.fromkeys(
        ("execution_price", "filled_transaction_id", "expires_at", "filled_at", "cancelled_at")
    )
    order |= {"id": 5, "side": "buy", "type": "LIMIT_BUY", "status": "CANCELLED", "limit_price": 4_000_000}
    order |= {"amount": 10, "currency": "inr", "inr_amount": 10, "btc_amount": 250}
    order |= {"reserved_inr": 0, "reserved_btc": 0, "created_at": "2025-03-01T12:00:00.000Z"}
    server.then_break().then(409, refusal("order_not_open", order=order))
    assert client_of(server).cancel_order(5).status == "CANCELLED"
    server.answers, server.asked = [(409, refusal("order_not_open", order=order), {})], []
    with pytest.raises(errors.OrderNotOpen):
        client_of(server).cancel_order(5)


def test_where_nobody_listens_it_is_asked_again() -> None:
    client = Client("http://127.0.0.1:9", retry=QUICK)
    with pytest.raises(Unreachable) as refused:
        client.login("a@example.com", "words")
    assert refused.value.attempts == QUICK.attempts


# --- Answers ------------------------------------------------------------------------------------------------------


def test_fields_that_nobody_knows_break_nothing(server: Server) -> None:
    new = {"a": [1, {"b": None}], "status_of_the_moon": "full"}
    server.then(201, {**TRADE, **new, "type": "A_NEW_KIND", "updated_balance": {**BALANCE, **new}})
    trade = client_of(server).buy(inr=1000)
    assert trade.type == "A_NEW_KIND"
    assert trade.raw["status_of_the_moon"] == "full"
    server.answers = [(200, {**BALANCE, **new}, {})]
    assert client_of(server).balance().available_inr == 9000


def test_a_code_that_nobody_knows_is_a_plain_error(server: Server) -> None:
    server.then(418, refusal("teapot", temperature=90))
    with pytest.raises(ApiError) as refused:
        client_of(server).buy(inr=1000)
    assert (type(refused.value), refused.value.code) == (ApiError, "teapot")
    assert refused.value.facts == {"temperature": 90}


@pytest.mark.parametrize("said", [b"<html>", b"[]", b"null", b"{}", b'{"available_inr": "many"}'])
def test_what_is_no_answer_is_said_to_be_none(server: Server, said: bytes) -> None:
    server.then(200, said)
    with pytest.raises(UnexpectedAnswer):
        client_of(server).balance()


def test_no_number_becomes_a_float(server: Server) -> None:
    server.then(200, {"btc_usd_price": 45_000.1, "buy_rate_inr": 4_095_009, "sell_rate_inr": 3_960_008})
    rates = client_of(server).price()
    assert (rates.btc_usd_price, type(rates.buy_rate_inr)) == (Decimal("45000.1"), int)


def test_an_export_that_breaks_off_is_no_export(server: Server, tmp_path: Any) -> None:
    server.then(200, b"id,seq\r\n1,1\r\n")
    with open(tmp_path / "out.csv", "w") as file, pytest.raises(Unreachable, match="broke off"):
        client_of(server).export(file)


class Absent(History):
    """Somebody who was away for 300 transactions: the server tells the latest 15 at once."""

    def __init__(self) -> None:
        """It asks nobody."""

    def events(self, after: int = 0) -> models.Missed:
        balance = {**BALANCE, "seq": 300}
        said = {"after": after, "seq": 300, "complete": False, "balance": balance}
        return models.Missed.parse({**said, "transactions": [row(seq) for seq in range(286, 301)]})

    def transactions(self, **_filters: Any) -> Iterator[models.Transaction]:
        return (models.Transaction.parse(row(seq)) for seq in range(300, 0, -1))


def row(seq: int) -> dict[str, Any]:
    figures = dict.fromkeys(("inr_amount", "btc_amount", "inr_change", "btc_change"), 0)
    at = "2025-03-01T12:00:00.000Z"
    what = {"id": seq * 2, "seq": seq, "type": "DEPOSIT_INR", "status": "EXECUTED", "execution_price": None}
    return {**what, **figures, "created_at": at, "executed_at": at}


def test_a_long_absence_is_filled_from_the_history() -> None:
    watch = Watch(Absent(), None, has_token=True, after=40)  # type: ignore[arg-type]
    told = [event.transaction.seq for event in watch._catch_up() if isinstance(event, TransactionMade)]
    assert told == list(range(41, 301))
    assert watch.seq == 300


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(0, "₹0"), (999, "₹999"), (1000, "₹1,000"), (100_000, "₹1,00,000"), (-12_345_678, "-₹1,23,45,678")],
)
def test_rupees_are_grouped_as_in_india(amount: int, shown: str) -> None:
    assert rupees(amount) == shown
    assert (bitcoin(-24_420), bitcoin(None)) == ("-₿0.00024420", "")


class Terminal(io.StringIO):
    """A terminal that remembers what was written."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_has_colours_and_a_line_that_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen = Screen(Terminal())
    screen.live("buy 1")
    screen.line("bought")
    screen.live(screen.paint("buy 2", "32"))
    screen.end_live()
    assert screen.out.getvalue() == (  # type: ignore[attr-defined]
        "\r\x1b[Kbuy 1\r\x1b[Kbought\nbuy 1\r\x1b[K\x1b[32mbuy 2\x1b[0m\n"
    )


def test_a_file_has_neither_and_a_terminal_no_colours_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Screen(io.StringIO())
    plain.live("buy 1")
    plain.live(plain.paint("buy 2", "32"))
    assert plain.out.getvalue() == "buy 1\nbuy 2\n"  # type: ignore[attr-defined]
    monkeypatch.setenv("NO_COLOR", "1")
    assert Screen(Terminal()).paint("x", "32") == "x"


# --- The package --------------------------------------------------------------------------------------------------


def test_every_code_of_the_server_has_a_class() -> None:
    codes = {kind.code for kind in STATUS} | {code for code, _ in HTTP_CODES.values()}
    assert codes - set(ApiError.codes) == set()


def test_every_route_has_a_method(app: Any) -> None:
    """But for those of operators, of browsers and of documents, and the second ways to the same."""
    source = "\n".join(path.read_text() for path in SOURCE.rglob("*.py"))
    written = {ast.unparse(node) for node in ast.walk(ast.parse(source)) if is_path(node)}
    known = {skeleton(text) for text in written}
    besides = {"/api/orders/preview", "/api/health/live", "/api/health/ready", "/api/auth/profile"}
    besides |= {"/api/transactions/{}/cancel", "/api/user/profile/password"}
    ignored = (
        "/api/admin",
        "/api/docs",
        "/api/openapi",
        "/api/asyncapi",
        "/api/auth/browser",
        "/api/session",
    )
    routes = {skeleton(path) for path in openapi_document(app)["paths"] if not path.startswith(ignored)}
    assert routes - known - besides == set()


def is_path(node: ast.AST) -> bool:
    text = ast.unparse(node) if isinstance(node, ast.Constant | ast.JoinedStr) else ""
    return "'/api/" in text


def skeleton(path: str) -> str:
    """/api/orders/{order_id} and f'/api/orders/{id}' as /api/orders/{}."""
    bare = path.removeprefix("f").strip("'\"")
    return "/".join("{}" if part.startswith("{") else part for part in bare.split("/"))


def test_it_imports_nothing_of_the_server() -> None:
    named = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                named |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
                named.add((node.module or "").split(".")[0])
    assert named - set(sys.stdlib_module_names) == {"bittrade_client", "requests", "urllib3", "socketio"}


@pytest.mark.parametrize(
    "check", [("mypy",), ("ruff", "check", "."), ("ruff", "format", "--check", ".")], ids=" ".join
)
def test_its_own_checks_pass(check: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *check],
        cwd=ROOT / "clients" / "python",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_sockets_it_still_watches(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    server.then(200, {"btc_usd_price": 45_000, "buy_rate_inr": 4_095_000, "sell_rate_inr": 3_960_000})
    take: Callable[[], Any] = iter(Client(server.url, retry=QUICK).watch(poll_s=0.01)).__next__
    kinds = [type(take()).__name__ for _ in range(2)]
    assert kinds == ["Connected", "PriceChanged"]
