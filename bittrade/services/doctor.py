"""What is wrong with a deployment, and how to mend it. What must never be has been refused at the start, by config.py."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import current_app
from redis import RedisError
from sqlalchemy.engine import make_url

from bittrade import replica
from bittrade.database import MEND, find_schema_fault
from bittrade.errors import BitTradeError
from bittrade.extensions import db
from bittrade.services import ledger, loans, market, orders, plans, redis_servers, settings

LOOPBACK = ("localhost", "127.0.0.1", "::1")
GOOD_COST = 12
LATE_S = 60  # orders and plans are swept each few seconds
INTEREST_LATE_S = 3600  # it is charged each day
TRADING_REMEDIES = {
    "no_price": (
        "There is no price fresh enough to trade on",
        "Run `python worker.py` and `python worker.py scheduler`, and look at their logs",
    ),
    "price_uncertain": (
        "The price waits for confirmation, and nothing is traded",
        "It is decided within two polls, unless the sources disagree: see the drift and the prices of /api/market/status",
    ),
    "halted": (
        "Trading is halted",
        "See why in the audit log; then flask --app wsgi trading resume --why ...",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault and its remedy."""

    fault: str
    remedy: str


def examine() -> list[Finding]:
    """Everything that is wrong, by the order in which to mend it."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _settings,
        _production,
        _database,
        _replica,
        _redis,
        _price,
        _orders_and_plans,
        _interest,
        _ledger,
    )
    return [finding for check in checks for finding in check()]


def _config(name: str) -> Any:
    return current_app.config[name]


def _settings() -> Iterator[Finding]:
    if not _config("IS_PRODUCTION"):
        yield Finding(
            f"BITTRADE_ENV is {_config('BITTRADE_ENV')}: nothing unsafe is refused",
            "Set BITTRADE_ENV=production",
        )
    if make_url(_config("DATABASE_URL")).get_backend_name() == "sqlite" and _config("WEB_CONCURRENCY") > 1:
        yield Finding(
            "SQLite has one writer, and several processes would wait for each other",
            "Set DATABASE_URL to a MariaDB, or WEB_CONCURRENCY=1",
        )
    if not _config("RATELIMIT_ENABLED"):
        yield Finding("No request is limited", "Unset RATELIMIT_ENABLED")
    if _config("BCRYPT_COST") < GOOD_COST:
        yield Finding(
            f"BCRYPT_COST is {_config('BCRYPT_COST')}: stolen hashes are cheap to try",
            f"Set BCRYPT_COST={GOOD_COST} or more; passwords are hashed anew at their owners' next login",
        )
    if _config("JWT_SECRET_PREVIOUS"):
        yield Finding(
            "The secret before is still accepted",
            f"Unset JWT_SECRET_PREVIOUS {_config('JWT_LIFETIME_S') // 3600} h after JWT_SECRET was replaced",
        )


def _production() -> Iterator[Finding]:
    if not _config("TRUSTED_HOSTS"):
        yield Finding("Requests for any Host are served", "Set TRUSTED_HOSTS to the names of this service")
    if _config("CORS_ORIGINS") == ["*"]:
        yield Finding("Any web page may call us", "Set CORS_ORIGINS to your own pages")
    if _config("HOST") not in LOOPBACK and not _config("TRUSTED_PROXY_HOPS"):
        yield Finding(
            f"HOST is {_config('HOST')} and no proxy is trusted: traffic is not encrypted, or all clients share an address",
            "Put a proxy with TLS in front (deploy/), and set TRUSTED_PROXY_HOPS to how many there are",
        )
    if _config("METRICS_PORT") and _config("METRICS_HOST") not in LOOPBACK:
        yield Finding(
            f"METRICS_HOST is {_config('METRICS_HOST')}: whoever reaches port {_config('METRICS_PORT')} reads what is traded",
            "Let METRICS_HOST be loopback, or let the firewall pass only Prometheus",
        )


def _database() -> Iterator[Finding]:
    try:
        with db.engine.connect() as connection:
            yield from _schema(connection)
            if connection.dialect.name != "sqlite":
                yield from _grants(connection)
    except sa.exc.SQLAlchemyError as error:
        yield Finding(
            f"The database does not answer: {type(error).__name__}", "Look at DATABASE_URL and its server"
        )


def _replica() -> Iterator[Finding]:
    known = replica.find()
    if known is not None and (fault := known.find_fault()):
        yield Finding(
            f"The replica is left alone: {fault}",
            "Look at SHOW SLAVE STATUS there, and at DATABASE_REPLICA_URL; our user needs SLAVE MONITOR on it",
        )


def _schema(connection: sa.Connection) -> Iterator[Finding]:
    folder = Path(current_app.root_path).parent / current_app.extensions["migrate"].directory
    if fault := find_schema_fault(connection, folder):
        yield Finding(fault, MEND)


def _grants(connection: sa.Connection) -> Iterator[Finding]:
    grants = " ".join(connection.scalars(sa.text("SHOW GRANTS"))).upper()
    if "ALL PRIVILEGES" in grants or "DROP" in grants:
        yield Finding(
            "The application's database user may change and drop tables, the ledger's too",
            "Give it only what deploy/grants.sql says, and migrate as another user",
        )


def _redis() -> Iterator[Finding]:
    for name, client in redis_servers.clients():
        url = make_url(_config(name))
        if url.host not in LOOPBACK and not url.password:
            yield Finding(
                f"{name} has no password", "Give Redis one (requirepass, or an ACL), and put it into the URL"
            )
        if url.host not in LOOPBACK and url.drivername == "redis":
            yield Finding(f"{name} is not encrypted", "Let Redis speak TLS, and write rediss://")
        try:
            for fault, remedy in redis_servers.list_faults(client):
                yield Finding(f"{name}: {fault}", remedy)
        except RedisError as error:
            yield Finding(
                f"Redis does not answer at {name}: {type(error).__name__}", "Start it, or mend the URL"
            )


def _ledger() -> Iterator[Finding]:
    try:
        standing, unchained = ledger.find_standing(), len(ledger.list_unchained())
    except (BitTradeError, sa.exc.SQLAlchemyError):
        return  # the database's own finding says why
    if standing.is_alarm:
        yield Finding(
            str(standing).capitalize(),
            "Look at the log of `python worker.py`; `flask --app wsgi ledger verify` proves the books now",
        )
    if unchained:
        yield Finding(
            f"The histories of {unchained} users are not chained up to their end: a changed row may stay unseen",
            "When no process of an older version runs any more: flask --app wsgi ledger chain",
        )


def _price() -> Iterator[Finding]:
    try:
        status = market.examine()
    except (BitTradeError, sa.exc.SQLAlchemyError):
        return  # the database's own finding says why
    if status["trading"] in TRADING_REMEDIES:
        yield Finding(*TRADING_REMEDIES[status["trading"]])
    age_ms = status["age_ms"]
    is_fetched = age_ms is not None and age_ms < 2000 * _config("PRICE_INTERVAL_S")
    if status["overdue_jobs"] is None and not is_fetched:
        yield Finding("No scheduler runs", "Run `python worker.py scheduler`, and look at its log")
    if status["overdue_jobs"]:
        yield Finding(
            f"Jobs are overdue: {', '.join(status['overdue_jobs'])}",
            "Run `python worker.py` (a second one, if the first is busy), and look at its log",
        )
    if market.is_unchecked():
        yield Finding(
            "The price comes from one source: no other has confirmed it within PRICE_WINDOW_S",
            "See in /api/market/status why the other sources don't answer; name more than one in PRICE_SOURCES",
        )
    yield from _lead(status)


def _orders_and_plans() -> Iterator[Finding]:
    try:
        overdue, unfilled = orders.has_overdue(by_s=LATE_S), orders.has_unfilled(by_s=LATE_S)
        late = plans.find_late(by_s=LATE_S)
    except (BitTradeError, sa.exc.SQLAlchemyError):
        return  # the database's own finding says why
    remedy = "Run `python worker.py scheduler` and `python worker.py`, and look at their logs"
    if overdue:
        yield Finding("Limit orders that have expired are still open: nobody sweeps them", remedy)
    if unfilled:
        yield Finding(
            "Limit orders that the price reached long ago are still open: nobody fills them", remedy
        )
    if late:
        yield Finding(f"{late} runs of recurring plans are late: nobody runs them", remedy)


def _interest() -> Iterator[Finding]:
    try:
        late = loans.find_late(by_s=INTEREST_LATE_S)
    except (BitTradeError, sa.exc.SQLAlchemyError):
        return  # the database's own finding says why
    if late:
        yield Finding(
            f"The interest of {late} loans is late: nobody charges it",
            "Run `python worker.py` and `python worker.py scheduler`, and look at their logs",
        )


def _lead(status: dict[str, Any]) -> Iterator[Finding]:
    """What one source could do to the price, and what each of them does."""
    lead = (_config("PRICE_CHECK_BAND_PCT") + _config("PRICE_CONFIRM_WITHIN_PCT")) / 100
    multipliers = settings.multipliers(settings.list_settings())
    if multipliers.buy * (1 - lead) < multipliers.sell * (1 + lead):
        yield Finding(
            "One source that lies could lead the price further than the spread covers",
            "Lower PRICE_CHECK_BAND_PCT and PRICE_CONFIRM_WITHIN_PCT, or widen the multipliers",
        )
    for source in status["sources"]:
        if abs(source["drift_pct"] or 0) > _config("PRICE_CONFIRM_WITHIN_PCT"):
            yield Finding(
                f"{source['name']} was {source['drift_pct']} % from the accepted price at {source['drift_at']}",
                "Compare it with the market; if it is wrong, take it out of PRICE_SOURCES",
            )
