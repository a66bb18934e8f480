"""What has to run inside the application: funded users and market data, then a fresh price each second.

Reads the number of users, and how many tokens they have in all, from its arguments; prints one token a line (the first of
each user first), an empty line, and ends with its input.
Started by `servers`, not by hand.
"""

import secrets
import select
import sys
from collections.abc import Iterator
from datetime import timedelta

import jwt
import sqlalchemy as sa
from flask import current_app

from bittrade import create_app, unit_of_work, wire
from bittrade.domain.pricing import ChartPoint, ChartSeries, PriceQuote, SentimentReading
from bittrade.models import LoginSession
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


def issue_tokens(user_ids: list[int], count: int) -> Iterator[str]:
    """Make tokens as a login does, without a password's hash each."""
    now, rows = wire.now(), []
    expires_at = now + timedelta(days=1)
    for number in range(count):
        place = number % len(user_ids)
        claims = {
            "id": user_ids[place],
            "email": f"bench-{place}@bittrade.test",
            "iat": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
            "jti": secrets.token_hex(16),
        }
        times = {"issued_at": now, "expires_at": expires_at, "last_seen_at": now}
        rows.append({"jti": claims["jti"], "user_id": user_ids[place], **times})
        yield jwt.encode(claims, current_app.config["JWT_SECRET"], algorithm="HS256")
    for start in range(0, len(rows), 1000):
        some = rows[start : start + 1000]
        unit_of_work.commit(
            lambda session, some=some: session.execute(sa.insert(LoginSession.__table__), some)
        )


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
        for token in issue_tokens(make_people(int(sys.argv[1])), int(sys.argv[2])):
            print(token)
        print(flush=True)
        while not select.select([sys.stdin], [], [], INTERVAL_S)[0]:
            record_price()


if __name__ == "__main__":
    main()
