"""The market data jobs: call one service, report in a word."""

from contextlib import suppress

from flask import current_app
from redis.exceptions import RedisError

from bittrade.extensions import queue_redis
from bittrade.jobs.alone import alone
from bittrade.jobs.schedule import MATCH
from bittrade.jobs.scheduler import SteadyScheduler
from bittrade.services import market


@alone
def update_price() -> str:
    """Fetch and record the price; a changed one has limit orders matched at once."""
    if not market.update_price():
        return "unchanged"
    with suppress(RedisError):  # the scheduler's own process matches within a second as well
        installation = current_app.config["INSTALLATION_ID"]
        SteadyScheduler(connection=queue_redis(), table=(), installation=installation).run_now(MATCH)
    return "changed"


@alone
def update_sentiment() -> str:
    """Fetch and record the Fear & Greed index."""
    market.update_sentiment()
    return "recorded"


@alone
def update_chart(timeframe: str) -> str:
    """Fetch and record one chart, unless that was done just now (a Redis that was emptied runs everything again)."""
    if market.is_chart_fresh(timeframe):
        return "fresh already"
    market.update_chart(timeframe)
    return "recorded"


@alone
def fill_missing() -> str:
    """Fetch whatever has no data yet or is overdue."""
    return ", ".join(market.fill_missing()) or "nothing"


@alone
def thin_prices() -> str:
    """Thin prices that are old."""
    return f"{market.thin_prices()} rows deleted"
