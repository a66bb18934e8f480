"""What the sources told us: prices, sentiment, charts."""

from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bittrade.extensions import db
from bittrade.models.types import MYSQL_TABLE, BigKey, LongText, UtcDateTime, WholeNumber, ascii_text


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
    as_of: Mapped[datetime] = mapped_column(UtcDateTime)  # when the source says it was true
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
