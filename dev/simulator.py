"""A price simulator that is a real server: the wire formats of all our sources on one port of loopback.

    python -m dev.simulator --port 3002

    COINGECKO_API_URL=http://127.0.0.1:3002/api/v3     COINBASE_API_URL=http://127.0.0.1:3002/coinbase
    KRAKEN_API_URL=http://127.0.0.1:3002/0/public      FEAR_GREED_API_URL=http://127.0.0.1:3002/fng

The price moves with every request and every second. `POST /control` makes the server slow, broken or a liar (MODES
below); `GET /control` shows its state and how often it was asked. Every answer carries `Server: bittrade-simulator`, so
that nobody takes its prices for real ones. It knows nothing of BitTrade: it uses the standard library only.
"""

import argparse
import functools
import json
import math
import random
import re
import signal
import socket
import struct
import sys
import threading
import time
import zlib
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

SERVER_NAME = "bittrade-simulator"
FEEDS = ("price", "chart", "sentiment", "coinbase", "kraken", "rupees")
INR_PER_USD = 89.5
MODES = {
    "normal": "a plausible answer",
    "slow": "answer after `seconds`",
    "status": "answer `status` (429 and 503 with `retry_after`, 3xx with a Location)",
    "refuse": "reset the connection",
    "empty": "200 with no body",
    "html": "200 with a web page",
    "as_html": "a plausible answer that calls itself a web page",
    "truncated": "half of the promised body",
    "huge": "50 MB of JSON",
    "drip": "the body at one byte every `seconds`",
    "drip_headers": "the headers at one byte every `seconds`",
    "gzip_bomb": "50 kB that unpack to 50 MB",
    "nan": "NaN as the figure",
    "negative": "a negative figure",
    "zero": "0 as the figure",
    "1e400": "1e400 as the figure",
    "text": "text where a number belongs",
    "times_1000": "the figure times 1000",
    "jump": "the figure times 1.5",
    "factor": "the figure times `factor`",
    "ahead": "a clock that runs `seconds` ahead",
    "missing_coin": "an answer without bitcoin in it",
    "old_timestamp": "yesterday's answer (last week's for the sentiment)",
    "stuck": "the same answer, with the same time, for ever",
}
BOMB_BYTES = 50_000_000
LOOPBACK = "127.0.0.1"
MAX_CONTROL_BYTES = 10_000
CLASSIFICATIONS = ((24, "Extreme Fear"), (49, "Fear"), (50, "Neutral"), (74, "Greed"), (100, "Extreme Greed"))
WAVE_PERIODS_S = (2_400, 21_600, 259_200, 2_592_000, 17_280_000)
WAVE_SIZES = (3e-4, 3e-3, 1e-2, 5e-2, 2e-1)
ATH_USD, ATH_DATE = 126_080.0, "2025-10-06T18:57:42.558Z"
# How a figure is written in the modes that lie about it; json would refuse to write some of these.
LIES = {"nan": "NaN", "negative": "-65000.5", "zero": "0", "1e400": "1e400", "text": '"65000.5 USD"'}
FIGURE = "@figure@"
FACTORS = {"times_1000": 1000, "jump": 1.5}


@dataclass(slots=True)
class Behaviour:
    """How one feed answers, for the next `times` requests or (None) until told otherwise."""

    mode: str = "normal"
    seconds: float = 1.0
    status: int = 500
    retry_after: int | None = None
    times: int | None = None
    factor: float = 1.0


class Market:
    """The simulated market. Given a seed and the same requests, it moves in the same way."""

    def __init__(self, *, seed: int | None = None, price_usd: float = 95_000.0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a simulation, no secret
        self._phases = [self._random.uniform(0, math.tau) for _ in WAVE_PERIODS_S]
        self._base = price_usd
        self._price = price_usd
        self._moved_at = time.monotonic()
        self.fixed_price: float | None = None

    def next_price(self) -> float:
        """The price of now: one step for the request and one for each second since the last one."""
        if self.fixed_price is not None:
            return self.fixed_price
        now = time.monotonic()
        steps = 1 + min(60, int(now - self._moved_at))
        self._moved_at = now
        before = self._price
        for _ in range(steps):
            pull = (self._base - self._price) / self._base * 0.001  # keeps a long run near where it began
            self._price = round(self._price * (1 + self._random.gauss(pull, 0.0004)), 2)
        if self._price == before:
            self._price = round(before + 0.01, 2)
        return self._price

    def chart(self, days: int, now: datetime) -> list[tuple[int, float]]:
        """(milliseconds, USD) with CoinGecko's granularity: 5 minutes to 1 day, hourly to 90, daily beyond."""
        step_s = 300 if days == 1 else 3600 if days <= 90 else 86_400
        end = now.timestamp()
        first = math.ceil((end - days * 86_400) / step_s) * step_s
        moments = [float(at) for at in range(int(first), int(end), step_s)] + [end]
        scale = self.next_price() / self._shape(end)  # the past leads to the price of now
        return [(int(at * 1000), round(self._shape(at) * scale, 2)) for at in moments]

    def _shape(self, at: float) -> float:
        """A smooth past that is the same at every request: waves from 40 minutes to 200 days."""
        waves = zip(WAVE_PERIODS_S, WAVE_SIZES, self._phases, strict=True)
        return math.exp(sum(size * math.sin(math.tau * at / period + phase) for period, size, phase in waves))


class ScaledMarket(Market):
    """The same market, as a source sees it whose figures are all wrong by one factor."""

    def __init__(self, market: Market, factor: float) -> None:
        self._market, self._factor = market, factor

    def next_price(self) -> float:
        return round(self._market.next_price() * self._factor, 2)

    def _shape(self, at: float) -> float:
        return self._market._shape(at)


@dataclass(slots=True)
class State:
    """Everything that /control shows and sets; guarded by `lock`, as each request has its own thread."""

    market: Market
    lock: threading.RLock = field(default_factory=threading.RLock)
    behaviours: dict[str, Behaviour] = field(default_factory=lambda: {feed: Behaviour() for feed in FEEDS})
    counts: Counter[str] = field(default_factory=Counter)
    recent: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=1_000))
    stuck_answers: dict[str, bytes] = field(default_factory=dict)

    def count(self, feed: str) -> Behaviour:
        """Count a request and say how to answer it."""
        with self.lock:
            self.counts[feed] += 1
            self.recent.append((time.time(), feed))
            behaviour = self.behaviours[feed]
            if behaviour.times is None:
                return behaviour
            behaviour.times -= 1
            if behaviour.times <= 0:
                self.behaviours[feed] = Behaviour()
            return behaviour

    def apply(self, wanted: dict[str, Any]) -> None:
        """Change the behaviour as a JSON object says. Raises ValueError with a reason for the caller."""
        wanted = dict(wanted)
        path, price, reset = wanted.pop("path", None), wanted.pop("price", ...), wanted.pop("reset", False)
        if path not in (*FEEDS, None):
            raise ValueError(f"path must be one of {', '.join(FEEDS)}, or left out for all of them")
        unknown = set(wanted) - {"mode", "seconds", "status", "retry_after", "times", "factor"}
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        if price is not ... and price is not None and not 0 < float(price) < 1e12:
            raise ValueError("price must be a positive number, or null to let it move")
        if wanted or reset:
            behaviour = _behaviour(wanted)
            with self.lock:
                for feed in [path] if path else FEEDS:
                    self.behaviours[feed] = Behaviour() if reset else replace(behaviour)
                    self.stuck_answers.pop(feed, None)
        if reset:
            self.counts.clear()
            self.recent.clear()
        if price is not ... or reset:
            self.market.fixed_price = None if price in (None, ...) else float(price)

    def show(self) -> dict[str, Any]:
        with self.lock:
            return {
                "price": self.market.fixed_price,
                "modes": {feed: behaviour.mode for feed, behaviour in self.behaviours.items()},
                "requests": {feed: self.counts[feed] for feed in FEEDS} | {"total": self.counts.total()},
                "recent": [{"at": at, "path": feed} for at, feed in self.recent],
                "available": MODES,
            }


def _behaviour(wanted: dict[str, Any]) -> Behaviour:
    mode = str(wanted.get("mode", "status" if "status" in wanted else "normal"))
    if mode in {"429", "500", "302"}:
        wanted, mode = {**wanted, "status": int(mode)}, "status"
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}")
    behaviour = Behaviour(mode=mode)
    behaviour.seconds = float(wanted.get("seconds", behaviour.seconds))
    behaviour.status = int(wanted.get("status", behaviour.status))
    behaviour.factor = float(wanted.get("factor", behaviour.factor))
    for name in ("retry_after", "times"):
        if wanted.get(name) is not None:
            setattr(behaviour, name, int(wanted[name]))
    if not 0 <= behaviour.seconds <= 3600 or not 200 <= behaviour.status <= 599:
        raise ValueError("seconds must be 0 to 3600 and status 200 to 599")
    if not 0 < behaviour.factor < 1e6:
        raise ValueError("factor must be above 0")
    return behaviour


# --- what the services answer --------------------------------------------------------------------------------------


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def markets_json(market: Market, mode: str, now: datetime) -> str:
    """`/coins/markets?vs_currency=usd&ids=bitcoin`."""
    if mode == "missing_coin":
        return "[]"
    if mode == "old_timestamp":
        now -= timedelta(days=1)
    price = market.next_price()
    supply = 19_950_000
    coin = {
        "id": "bitcoin",
        "symbol": "btc",
        "name": "Bitcoin",
        "image": "https://coin-images.coingecko.com/coins/images/1/large/bitcoin.png",
        "current_price": FIGURE,
        "market_cap": int(price * supply),
        "market_cap_rank": 1,
        "fully_diluted_valuation": int(price * 21_000_000),
        "total_volume": int(price * 400_000),
        "high_24h": round(price * 1.012, 2),
        "low_24h": round(price * 0.985, 2),
        "price_change_24h": round(price * 0.004, 2),
        "price_change_percentage_24h": 0.4,
        "circulating_supply": float(supply),
        "total_supply": float(supply),
        "max_supply": 21_000_000.0,
        "ath": ATH_USD,
        "ath_change_percentage": round((price / ATH_USD - 1) * 100, 5),
        "ath_date": ATH_DATE,
        "atl": 67.81,
        "atl_change_percentage": round((price / 67.81 - 1) * 100, 5),
        "atl_date": "2013-07-06T00:00:00.000Z",
        "roi": None,
        "last_updated": _iso(now),
    }
    return json.dumps([coin]).replace(f'"{FIGURE}"', _figure(mode, price))


def market_chart_json(market: Market, mode: str, now: datetime, days: int) -> str:
    """`/coins/bitcoin/market_chart?vs_currency=usd&days=N`."""
    if mode == "missing_coin":
        return '{"error": "coin not found"}'
    if mode == "old_timestamp":
        now -= timedelta(days=7)
    points = market.chart(days, now)
    prices: list[list[object]] = [[at, price] for at, price in points]
    last = points[-1][1]
    prices[-1][1] = FIGURE
    body = {
        "prices": prices,
        "market_caps": [[at, round(price * 19_950_000, 2)] for at, price in points],
        "total_volumes": [[at, round(price * 400_000, 2)] for at, price in points],
    }
    return json.dumps(body).replace(f'"{FIGURE}"', _figure(mode, last))


def sentiment_json(mode: str, now: datetime) -> str:
    """`/fng/?limit=1`: every number is a string; the reading is dated midnight and changes once a day."""
    if mode == "missing_coin":
        return '{"name": "Fear and Greed Index", "data": [], "metadata": {"error": null}}'
    if mode == "old_timestamp":
        now -= timedelta(days=7)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    of_the_day = random.Random(midnight.toordinal())  # noqa: S311 - a simulation, no secret
    value = of_the_day.randint(10, 90)
    reading = {
        "value": FIGURE,
        "value_classification": next(name for limit, name in CLASSIFICATIONS if value <= limit),
        "timestamp": str(int(midnight.timestamp())),
        "time_until_update": str(int((midnight + timedelta(days=1) - now).total_seconds())),
    }
    body = json.dumps({"name": "Fear and Greed Index", "data": [reading], "metadata": {"error": None}})
    written = {"text": '"greedy"', "negative": '"-5"', "zero": '"0"', "times_1000": f'"{value * 1000}"'}
    return body.replace(f'"{FIGURE}"', written.get(mode, LIES.get(mode, f'"{value}"')))


def rupees_json(market: Market, mode: str) -> str:
    """CoinGecko's `/simple/price?ids=bitcoin&vs_currencies=usd,inr`."""
    price = market.next_price()
    body = json.dumps({"bitcoin": {"usd": price, "inr": FIGURE}})
    return "{}" if mode == "missing_coin" else body.replace(f'"{FIGURE}"', _figure(mode, price * INR_PER_USD))


def coinbase_json(market: Market, mode: str, now: datetime) -> str:
    """Coinbase Exchange's `/products/BTC-USD/ticker`: figures are text."""
    if mode == "missing_coin":
        return '{"message": "NotFound"}'
    if mode == "old_timestamp":
        now -= timedelta(days=1)
    price = market.next_price()
    ticker = {
        "ask": f"{price + 0.01:.2f}",
        "bid": f"{price - 0.01:.2f}",
        "volume": "5471.22718301",
        "trade_id": int(now.timestamp() * 10),
        "price": FIGURE,
        "size": "0.00066",
        "time": now.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z",
        "rfq_volume": "12.031",
    }
    return json.dumps(ticker).replace(f'"{FIGURE}"', _text_figure(mode, price))


def kraken_json(market: Market, mode: str, now: datetime) -> str:
    """Kraken's `/Trades?pair=XBTUSD&count=1`: the price is text, the time a number."""
    if mode == "missing_coin":
        return '{"error": ["EQuery:Unknown asset pair"]}'
    if mode == "old_timestamp":
        now -= timedelta(days=1)
    price = market.next_price()
    trade = [FIGURE, "0.00100000", round(now.timestamp(), 7), "b", "l", "", 61_044_952]
    body = {"error": [], "result": {"XXBTZUSD": [trade], "last": str(int(now.timestamp() * 1e9))}}
    return json.dumps(body).replace(f'"{FIGURE}"', _text_figure(mode, price))


def _figure(mode: str, price: float) -> str:
    return LIES.get(mode, json.dumps(price * FACTORS.get(mode, 1)))


def _text_figure(mode: str, price: float) -> str:
    """As exchanges write it; a lie that is no text already becomes one."""
    lie = LIES.get(mode)
    return json.dumps(f"{price * FACTORS.get(mode, 1):.2f}") if lie is None else json.dumps(lie.strip('"'))


@functools.cache
def gzip_bomb() -> bytes:
    """50 MB of blanks, packed to about 50 kB; made on first use."""
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    blanks = b" " * 1_000_000
    return b"".join(packer.compress(blanks) for _ in range(BOMB_BYTES // len(blanks))) + packer.flush()


# --- HTTP ----------------------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """Routes a request to its feed, and answers as the feed's behaviour says."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    server: "SimulatorServer"

    def version_string(self) -> str:
        return SERVER_NAME

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: a poll each half minute is no news, and /control has the counts."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        path = url.path.rstrip("/")
        if path == "/control":
            self._send_json(200, self.server.state.show())
        elif path == "/api/v3/ping":
            self._send_json(200, {"gecko_says": "(V3) To the Moon!"})
        elif path == "/api/v3/coins/markets":
            self._answer("price", query)
        elif path == "/api/v3/simple/price":
            self._answer("rupees", query)
        elif path == "/api/v3/coins/bitcoin/market_chart":
            self._answer("chart", query)
        elif path == "/fng":
            self._answer("sentiment", query)
        elif path == "/coinbase/products/BTC-USD/ticker":
            self._answer("coinbase", query)
        elif path == "/0/public/Trades":
            self._answer("kraken", query)
        else:
            self._send_json(404, {"error": "coin not found"})

    def do_POST(self) -> None:
        status, value = self._control()
        self._send_json(status, value)

    def _control(self) -> tuple[int, object]:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,5}", length) or int(length) > MAX_CONTROL_BYTES:
            self.close_connection = True
            return 413, {"error": f"send up to {MAX_CONTROL_BYTES} bytes, with their Content-Length"}
        body = self.rfile.read(int(length))
        if urlsplit(self.path).path.rstrip("/") != "/control":
            return 404, {"error": "not found"}
        if not self.headers.get("Content-Type", "").startswith("application/json"):
            return 415, {"error": "send application/json"}  # so that no web page can control this
        try:
            wanted = json.loads(body)
            if not isinstance(wanted, dict):
                raise ValueError("send a JSON object")
            self.server.state.apply(wanted)
        except (ValueError, TypeError) as failure:
            return 400, {"error": str(failure)}
        return 200, self.server.state.show()

    def _answer(self, feed: str, query: dict[str, str]) -> None:
        behaviour = self.server.state.count(feed)
        # A client that gives up is what half of the modes are for.
        with suppress(ConnectionError, TimeoutError):
            body = self._body(feed, behaviour, query)
            if body is None:
                self._send_json(422, {"error": "invalid parameters"})
            elif (misbehave := getattr(self, f"_mode_{behaviour.mode}", None)) is not None:
                misbehave(behaviour, body)
            else:
                self._send(200, body)

    def _body(self, feed: str, behaviour: Behaviour, query: dict[str, str]) -> bytes | None:
        """The answer as it would be, lies included; None for parameters that the real service refuses."""
        state, mode = self.server.state, behaviour.mode
        with state.lock:
            if mode == "stuck" and feed in state.stuck_answers:
                return state.stuck_answers[feed]
            text = self._text(feed, behaviour, query)
            if text is not None and mode == "stuck":
                state.stuck_answers[feed] = text.encode()
            return None if text is None else text.encode()

    def _text(self, feed: str, behaviour: Behaviour, query: dict[str, str]) -> str | None:
        market, now, mode = self.server.state.market, datetime.now(UTC), behaviour.mode
        if mode == "ahead":
            now += timedelta(seconds=behaviour.seconds)
        if mode == "factor":
            market = ScaledMarket(market, behaviour.factor)
        if feed == "sentiment":
            return sentiment_json(mode, now)
        if feed == "rupees":
            return rupees_json(market, mode)
        if feed == "coinbase":
            return coinbase_json(market, mode, now)
        if feed == "kraken":
            return kraken_json(market, mode if query.get("pair") == "XBTUSD" else "missing_coin", now)
        if query.get("vs_currency") != "usd":
            return None
        if feed == "price":
            is_asked = "bitcoin" in query.get("ids", "").split(",")
            return markets_json(market, mode if is_asked else "missing_coin", now)
        days = query.get("days", "")
        if not re.fullmatch(r"[1-9][0-9]{0,2}", days, re.ASCII) or int(days) > 365:
            return None
        return market_chart_json(market, mode, now, int(days))

    # --- the modes that are more than another text; each takes the behaviour and the honest body

    def _mode_slow(self, behaviour: Behaviour, body: bytes) -> None:
        self.server.stopping.wait(behaviour.seconds)
        self._send(200, body)

    def _mode_status(self, behaviour: Behaviour, _body: bytes) -> None:
        headers = {"Retry-After": str(behaviour.retry_after)} if behaviour.retry_after is not None else {}
        if 300 <= behaviour.status < 400:
            headers["Location"] = f"http://{self.headers.get('Host', LOOPBACK)}{self.path}&moved=1"
        body = json.dumps({"status": {"error_code": behaviour.status}}).encode()
        self._send(behaviour.status, body, headers)

    def _mode_refuse(self, _behaviour: Behaviour, _body: bytes) -> None:
        linger_for_no_time = struct.pack("ii", 1, 0)  # makes the close a reset
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_for_no_time)
        self.close_connection = True

    def _mode_empty(self, _behaviour: Behaviour, _body: bytes) -> None:
        self._send(200, b"")

    def _mode_html(self, _behaviour: Behaviour, _body: bytes) -> None:
        page = b"<!doctype html><title>Just a moment...</title>"
        self._send(200, page, content_type="text/html; charset=utf-8")

    def _mode_as_html(self, _behaviour: Behaviour, body: bytes) -> None:
        self._send(200, body, content_type="text/html; charset=utf-8")

    def _mode_truncated(self, _behaviour: Behaviour, body: bytes) -> None:
        self._start(200, len(body))
        self.wfile.write(body[: len(body) // 2])
        self.close_connection = True

    def _mode_huge(self, _behaviour: Behaviour, body: bytes) -> None:
        self._start(200, BOMB_BYTES + len(body))
        for _ in range(BOMB_BYTES // 100_000):
            self.wfile.write(b" " * 100_000)
        self.wfile.write(body)

    def _mode_drip(self, behaviour: Behaviour, body: bytes) -> None:
        self._start(200, len(body))
        self._drip(body, behaviour.seconds)

    def _mode_drip_headers(self, behaviour: Behaviour, body: bytes) -> None:
        self.close_connection = True
        self._drip(b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 10_000 + b"\r\n\r\n" + body, behaviour.seconds)

    def _mode_gzip_bomb(self, _behaviour: Behaviour, _body: bytes) -> None:
        self._send(200, gzip_bomb(), {"Content-Encoding": "gzip"})

    def _drip(self, data: bytes, seconds: float) -> None:
        for byte in data:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            if self.server.stopping.wait(seconds):
                return

    def _send_json(self, status: int, value: object) -> None:
        self._send(status, json.dumps(value).encode())

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        content_type: str = "application/json; charset=utf-8",
    ) -> None:
        self._start(status, len(body), {"Content-Type": content_type, **(headers or {})})
        self.wfile.write(body)

    def _start(self, status: int, length: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json; charset=utf-8", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()


class SimulatorServer(ThreadingHTTPServer):
    """The server and its state; `stopping` ends what is slow on purpose."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], market: Market) -> None:
        super().__init__(address, Handler)
        self.state = State(market)
        self.stopping = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@dataclass(frozen=True, slots=True)
class Simulator:
    """A handle on a running server."""

    server: SimulatorServer

    @property
    def url(self) -> str:
        host, port = self.server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def coingecko_url(self) -> str:
        return self.url + "/api/v3"

    @property
    def sentiment_url(self) -> str:
        return self.url + "/fng"

    @property
    def coinbase_url(self) -> str:
        return self.url + "/coinbase"

    @property
    def kraken_url(self) -> str:
        return self.url + "/0/public"

    @property
    def settings(self) -> dict[str, str]:
        """What makes BitTrade ask this simulator and nobody else."""
        return {
            "COINGECKO_API_URL": self.coingecko_url,
            "COINBASE_API_URL": self.coinbase_url,
            "KRAKEN_API_URL": self.kraken_url,
            "FEAR_GREED_API_URL": self.sentiment_url,
        }

    def set(self, mode: str | None = None, **wanted: Any) -> None:
        """Change the behaviour, with the same words as `POST /control`."""
        self.server.state.apply(({"mode": mode} if mode else {}) | wanted)

    def reset(self) -> None:
        self.set(reset=True)

    def requests(self, feed: str | None = None) -> int:
        """How many requests came in since the start or the last reset."""
        shown: int = self.server.state.show()["requests"][feed or "total"]
        return shown


@contextmanager
def running_simulator(
    *, host: str = LOOPBACK, port: int = 0, seed: int | None = 1, price_usd: float = 95_000.0
) -> Iterator[Simulator]:
    """Serve from a thread of this process for the length of a `with` block."""
    server = SimulatorServer((host, port), Market(seed=seed, price_usd=price_usd))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield Simulator(server)
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m dev.simulator", description="All price sources, simulated."
    )
    parser.add_argument("--port", type=int, default=3002)
    parser.add_argument("--host", default=LOOPBACK, help="loopback unless you say otherwise")
    parser.add_argument("--seed", type=int, default=None, help="move in the same way every time")
    parser.add_argument("--price", type=float, default=95_000.0, help="USD to begin with")
    options = parser.parse_args(arguments)
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: sys.exit(0))
    try:
        market = Market(seed=options.seed, price_usd=options.price)
        server = SimulatorServer((options.host, options.port), market)
    except (OSError, OverflowError) as failure:
        print(f"simulator: cannot listen on {options.host}:{options.port}: {failure}", file=sys.stderr)
        return 1
    simulator = Simulator(server)
    addresses = " ".join(f"{name}={url}" for name, url in simulator.settings.items())
    print(f"simulator: {addresses} control={simulator.url}/control", flush=True)
    with server:
        server.serve_forever(poll_interval=0.2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
