"""What the sources told us: prices, sentiment, charts."""

from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bittrade.extensions import db
from bittrade.models.types import MYSQL_TABLE, BigKey, LongText, UtcDateTime, WholeNumber, ascii_text, text


class BitcoinData(db.Model):  # type: ignore[name-defined]
    """One accepted price; append-only. Cents and whole dollars, basis points."""

    __tablename__ = "bitcoin_data"
    __table_args__ = (sa.CheckConstraint("btc_usd_cents > 0", name="price_positive"), MYSQL_TABLE)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    btc_usd_cents: Mapped[int] = mapped_column(WholeNumber)
    market_cap_usd: Mapped[int | None] = mapped_column(WholeNumber)
    volume_24h_usd: Mapped[int | None] = mapped_column(WholeNumber)
    high_24h_usd_cents: Mapped[int | None] = mapped_column(WholeNumber)
    ath_usd_cents: Mapped[int | None] = mapped_column(WholeNumber)
    ath_date: Mapped[date | None] = mapped_column(sa.Date)
    ath_change_bps: Mapped[int | None] = mapped_column(WholeNumber)
    source: Mapped[str] = mapped_column(ascii_text(32))
    checked_by: Mapped[str | None] = mapped_column(ascii_text(128))  # the sources that said the same
    as_of: Mapped[datetime] = mapped_column(UtcDateTime, index=True)  # when the source says it was true
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)  # when we recorded it


class BitcoinSentiment(db.Model):  # type: ignore[name-defined]
    """The Fear & Greed index, a row a day."""

    __tablename__ = "bitcoin_sentiment"
    __table_args__ = (
        sa.CheckConstraint("fear_greed_value BETWEEN 0 AND 100", name="value_range"),
        MYSQL_TABLE,
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    fear_greed_value: Mapped[int] = mapped_column(sa.Integer)
    fear_greed_classification: Mapped[str] = mapped_column(ascii_text(32))
    data_date: Mapped[date] = mapped_column(sa.Date, unique=True)
    last_updated: Mapped[datetime] = mapped_column(UtcDateTime)


class BitcoinChartData(db.Model):  # type: ignore[name-defined]
    """The newest chart of each timeframe; `points` is JSON: [[ms since the epoch, cents], …]."""

    __tablename__ = "bitcoin_chart_data"
    __table_args__ = (MYSQL_TABLE,)

    timeframe: Mapped[str] = mapped_column(ascii_text(8), primary_key=True)
    points: Mapped[str] = mapped_column(LongText)
    price_change_bps: Mapped[int | None] = mapped_column(WholeNumber)
    date_from: Mapped[datetime] = mapped_column(UtcDateTime)
    date_to: Mapped[datetime] = mapped_column(UtcDateTime)
    last_updated: Mapped[datetime] = mapped_column(UtcDateTime)


class BitcoinPriceEvent(db.Model):  # type: ignore[name-defined]
    """A price that was not simply accepted: held until another confirms it, or refused. `outcome` says what became
    of it: held, confirmed, refuted (another source said otherwise) or refused (could not be believed at all)."""

    __tablename__ = "bitcoin_price_events"
    __table_args__ = (
        sa.CheckConstraint("outcome IN ('held', 'confirmed', 'refuted', 'refused')", name="outcome"),
        sa.Index("ix_bitcoin_price_events_outcome_at", "outcome", "at"),
        MYSQL_TABLE,
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    provider: Mapped[str] = mapped_column(ascii_text(32))  # who was asked
    outcome: Mapped[str] = mapped_column(ascii_text(12))
    btc_usd_cents: Mapped[int | None] = mapped_column(WholeNumber)  # none where there was no number
    last_usd_cents: Mapped[int | None] = mapped_column(
        WholeNumber
    )  # the accepted price that it was measured by
    as_of: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reason: Mapped[str] = mapped_column(text(255))
    resolved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Upstream(db.Model):  # type: ignore[name-defined]
    """What is known of one source: its breaker, its budget, its last success and failure. In the database, because a
    job is a process of its own, and because a Redis that was emptied must not cost a month's figures."""

    __tablename__ = "upstreams"
    __table_args__ = (MYSQL_TABLE,)

    name: Mapped[str] = mapped_column(ascii_text(32), primary_key=True)
    failures: Mapped[int] = mapped_column(sa.Integer, default=0)  # in a row
    open_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    paused_until: Mapped[datetime | None] = mapped_column(UtcDateTime)  # its own Retry-After
    last_success_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_failure_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_failure: Mapped[str | None] = mapped_column(text(255))
    drift_bps: Mapped[int | None] = mapped_column(
        sa.Integer
    )  # from what was believed when it was last compared
    drift_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    succeeded: Mapped[int] = mapped_column(WholeNumber, default=0)  # since ever
    failed: Mapped[int] = mapped_column(WholeNumber, default=0)
    month: Mapped[str] = mapped_column(ascii_text(7), default="")  # 2026-11
    month_calls: Mapped[int] = mapped_column(WholeNumber, default=0)
    recent_calls: Mapped[str] = mapped_column(
        LongText, default="[]"
    )  # JSON: ms since the epoch, the last minute's
