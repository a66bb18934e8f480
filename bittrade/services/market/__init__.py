"""Market data, by one name for everybody else. Who does what:

`price` serves and records the newest price · `basis` says whether it may be traded on · `sanity` decides which prices
are believed · `feed` asks the sources,
`sources` knows how they are · `data` keeps charts and sentiment · `history` and `candles` serve the past, `retention` thins it ·
`watch` reports, and tells when something changes.
"""

from bittrade.services.market.basis import (
    find_rates,
    find_sell_rate,
    is_in_force,
    judge,
    newest_price,
    price_for_trade,
    refuse_if_halted,
    trading_state,
)
from bittrade.services.market.candles import get_candles
from bittrade.services.market.data import (
    get_chart,
    get_sentiment,
    is_chart_fresh,
    list_missing,
    record_chart,
    record_sentiment,
)
from bittrade.services.market.feed import (
    fill_missing,
    find_inr_rate,
    is_price_neglected,
    update_chart,
    update_price,
    update_sentiment,
)
from bittrade.services.market.history import list_history
from bittrade.services.market.price import (
    find_price_age_ms,
    get_current,
    get_rates,
    publish_rates,
    record_price,
    with_age_of_now,
)
from bittrade.services.market.retention import thin_prices
from bittrade.services.market.sanity import is_unchecked
from bittrade.services.market.watch import examine, get_status, list_overdue_jobs, read_news

__all__ = [
    "examine",
    "fill_missing",
    "find_inr_rate",
    "find_price_age_ms",
    "find_rates",
    "find_sell_rate",
    "get_candles",
    "get_chart",
    "get_current",
    "get_rates",
    "get_sentiment",
    "get_status",
    "is_chart_fresh",
    "is_in_force",
    "is_price_neglected",
    "is_unchecked",
    "judge",
    "list_history",
    "list_missing",
    "list_overdue_jobs",
    "newest_price",
    "price_for_trade",
    "publish_rates",
    "read_news",
    "record_chart",
    "record_price",
    "record_sentiment",
    "refuse_if_halted",
    "thin_prices",
    "trading_state",
    "update_chart",
    "update_price",
    "update_sentiment",
    "with_age_of_now",
]
