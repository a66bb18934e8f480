"""What was: transactions, receipts, the statement, exports, and what happened since a `seq`."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, TextIO

from bittrade_client.asking import Asking, when
from bittrade_client.errors import Unreachable
from bittrade_client.models import Entry, Missed, Portfolio, Receipt, Transaction

END = "# end of export: "


class History(Asking):
    """A user's past. Lists are iterators that fetch as they go: `itertools.islice(client.transactions(), 20)`."""

    def transactions(
        self,
        *,
        type: str | None = None,
        status: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[Transaction]:
        """Give the transactions: open orders first, then newest first."""
        query = {"type": type, "status": status, "from": when(since), "to": when(until)}
        for each in self._pages("/api/transactions", "transactions", query, "before_id"):
            yield Transaction.parse(each)

    def transactions_after(
        self, transaction_id: int = 0, *, type: str | None = None, since: datetime | None = None
    ) -> Iterator[Transaction]:
        """Give what is settled oldest first, from behind a transaction on: keep the last id, and ask again later."""
        query = {"order": "asc", "after_id": transaction_id, "type": type, "from": when(since)}
        for each in self._pages("/api/transactions", "transactions", query, "after_id"):
            yield Transaction.parse(each)

    def transaction(self, transaction_id: int) -> Transaction:
        """Return one transaction. Raises TransactionNotFound."""
        return Transaction.parse(self._get(f"/api/transactions/{transaction_id}"))

    def find_transaction(self, client_order_id: str) -> Transaction | None:
        """Return the transaction that has this name of yours, if there is one: whether an order came through."""
        found = self._get("/api/transactions", client_order_id=client_order_id)["transactions"]
        return Transaction.parse(found[0]) if found else None

    def receipt(self, transaction_id: int) -> Receipt:
        """Return where a trade's price came from. Raises NoReceipt, or TransactionNotFound."""
        return Receipt.parse(self._get(f"/api/transactions/{transaction_id}/receipt"))

    def portfolio(self) -> Portfolio:
        """Return what the holdings cost, are worth, and gained."""
        return Portfolio.parse(self._get("/api/portfolio"))

    def ledger(self, *, oldest_first: bool = False) -> Iterator[Entry]:
        """Give each movement of the user's accounts with the balance after it."""
        query = {"order": "asc" if oldest_first else "desc", "limit": 500}
        for each in self._pages("/api/ledger", "entries", query, "cursor"):
            yield Entry.parse(each)

    def export(self, file: TextIO, *, type: str | None = None) -> int:
        """Write the history as CSV; return how many transactions. Raises Unreachable where it breaks off."""
        return self._export("/api/transactions.csv", {"type": type}, file)

    def export_ledger(self, file: TextIO) -> int:
        """Write the statement as CSV, oldest first; return how many entries."""
        return self._export("/api/ledger.csv", {}, file)

    def _export(self, path: str, query: dict[str, Any], file: TextIO) -> int:
        """Without its last line a file is cut."""
        end = ""
        with self._transport.stream(path, query) as pieces:
            for piece in pieces:
                file.write(piece)
                end = (end + piece)[-200:]
        last = end.rstrip().rpartition("\n")[2]
        if not last.startswith(END):
            raise Unreachable("The export broke off")
        return int(last.removeprefix(END).split()[0])

    def events(self, after: int = 0) -> Missed:
        """Return the balance, and what happened since a `seq`; not all of it where it is not `complete`."""
        return Missed.parse(self._get("/api/events", after=after))
