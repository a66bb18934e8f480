"""The past, from our own rows: the latest prices."""

from typing import Any

import sqlalchemy as sa

from bittrade import replica, wire
from bittrade.models import BitcoinData
from bittrade.services.market import price as market_price


def list_history(limit: int) -> list[dict[str, Any]]:
    """The latest prices, newest first."""
    now = wire.now()
    newest = (
        sa.select(
            BitcoinData.id,
            BitcoinData.btc_usd_cents,
            BitcoinData.market_cap_usd,
            BitcoinData.created_at,
            BitcoinData.as_of,
            BitcoinData.source,
        )
        .order_by(BitcoinData.id.desc())
        .limit(limit)
    )
    rows = replica.read(lambda session: session.execute(newest).all())
    return [
        {
            "id": row.id,
            "btc_usd_price": wire.hundredths(row.btc_usd_cents),
            "market_cap_usd": row.market_cap_usd,
            "created_at": wire.timestamp(row.created_at),
            "source": row.source,
            "as_of": wire.timestamp(row.as_of),
            **market_price.age_document(row.as_of, now),
        }
        for row in rows
    ]
