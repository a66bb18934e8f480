"""The history as CSV, for spreadsheets and tax tools: a unit in the name of each column, and a last line that counts."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from bittrade import replica
from bittrade.domain import spreadsheet
from bittrade.services import history, user_data
from bittrade.services.history import EVERYTHING, Filter

PIECE = 1000  # rows read at a time
COLUMNS = (
    *("id", "seq", "type", "status"),
    *("amount_inr", "amount_btc", "amount_satoshis"),
    *("change_inr", "change_btc", "change_satoshis"),
    *("execution_price_inr_per_btc", "client_order_id", "order_id", "reverses_id", "reverses_type"),
    *("created_at_utc", "executed_at_utc", "imported_id", "imported_type"),
    *("counterparty_name", "transfer_id", "loan_id"),
)


def export(user_id: int, seq: int, wanted: Filter = EVERYTHING) -> Iterator[str]:
    """Return the history as pieces of CSV, newest first and no older than `seq`; no connection is held while a client reads slowly."""
    yield spreadsheet.lines([COLUMNS])
    below_seq, count = user_data.MAX_SEQ, 0
    while True:
        read = partial(history.read_older, user_id=user_id, limit=PIECE, below_seq=below_seq, wanted=wanted)
        rows = replica.read_own(user_id, seq, read)
        count += len(rows)
        yield spreadsheet.lines(_cells(row) for row in rows)
        if len(rows) < PIECE:
            break
        below_seq = rows[-1]["seq"]
    yield spreadsheet.end(count, "transactions")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Return a row's cells in the order of COLUMNS."""
    number, text, bitcoin = spreadsheet.number, spreadsheet.text, spreadsheet.bitcoin
    return (
        *(number(row["id"]), number(row["seq"]), text(row["type"]), text(row["status"])),
        *(number(row["inr_amount"]), bitcoin(row["btc_amount"]), number(row["btc_amount"])),
        *(number(row["inr_change"]), bitcoin(row["btc_change"]), number(row["btc_change"])),
        *(number(row["execution_price"]), text(row["client_order_id"])),
        *(number(row["order_id"]), number(row["reverses_id"]), text(row["reverses_type"])),
        *(row["created_at"], row["executed_at"] or ""),
        *(number(row["imported_id"]), text(row["imported_type"])),
        *(text(row["counterparty_name"]), number(row["transfer_id"]), number(row["loan_id"])),
    )
