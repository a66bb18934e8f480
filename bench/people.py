"""What has to run inside the application: funded users and market data, then a fresh price each second.

Reads the number of users from its first argument, prints one token a line, an empty line, and ends with its input.
Started by `servers`, not by hand.
"""

import secrets
import select
import sys
import time
from datetime import timedelta

import jwt
from flask import current_app

from bittrade import create_app, wire
from bittrade.domain.pricing import ChartPoint, ChartSeries, PriceQuote, SentimentReading
from bittrade.services import auth, funds, market
from bittrade.services.funds import Funds

PRICE_CENTS = 45_000_00
INTERVAL_S = 1.0
MONEY = Funds(1_000_000_000, 100_000_000_000)
PASSWORD = "a benchmark needs no secret, only length"  # noqa: S105 - the database lives for minutes


def make_people(count: int) -> list[int]:
    """Open and fund the accounts."""
    ids = []
    for number in range(count):
        user = auth.create_user(email=f"bench-{number}@bittrade.test", password=PASSWORD, name="Bench")
        funds.deposit(user["id"], MONEY)
        ids.append(user["id"])
    return ids


def token_for(user_id: int, number: int) -> str:
    now = int(time.time())
    claims = {
        "id": user_id,
        "email": f"bench-{number}@bittrade.test",
        "iat": now,
        "exp": now + 86_400,
        "jti": secrets.token_hex(16),
    }
    return jwt.encode(claims, current_app.config["JWT_SECRET"], algorithm="HS256")


def record_market() -> None:
    now = wire.now()
    points = tuple(
        ChartPoint(now - timedelta(minutes=5 * (288 - number)), PRICE_CENTS + number) for number in range(288)
    )
    market.record_chart(ChartSeries("1d", points))
    market.record_sentiment(SentimentReading(60, "Greed", now.date()))
    record_price()


def record_price() -> None:
    market.record_price(PriceQuote(btc_usd_cents=PRICE_CENTS, as_of=wire.now(), source="bench"))


def main() -> None:
    with create_app().app_context():
        record_market()
        for number, user_id in enumerate(make_people(int(sys.argv[1]))):
            print(token_for(user_id, number))
        print(flush=True)
        while not select.select([sys.stdin], [], [], INTERVAL_S)[0]:
            record_price()


if __name__ == "__main__":
    main()
