"""What a user holds: the row that a trade locks, reads and updates."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bittrade.domain.ledger import BALANCE_ACCOUNTS
from bittrade.extensions import db
from bittrade.models.types import MYSQL_TABLE, BigKey, WholeNumber, ascii_text


class Balance(db.Model):  # type: ignore[name-defined]
    """Rupees and satoshis per account. Only `services.ledger` writes here."""

    __tablename__ = "balances"
    __table_args__ = (
        *(sa.CheckConstraint(f"{column} >= 0", name=f"{column}_not_negative") for column in BALANCE_ACCOUNTS),
        # SQLite would take 1.5 or a text in an INTEGER column.
        *(
            sa.CheckConstraint(f"typeof({column}) = 'integer'", name=f"{column}_integer").ddl_if(
                dialect="sqlite"
            )
            for column in BALANCE_ACCOUNTS
        ),
        MYSQL_TABLE,
    )

    user_id: Mapped[int] = mapped_column(
        BigKey, sa.ForeignKey("users.id"), primary_key=True, autoincrement=False
    )
    seq: Mapped[int] = mapped_column(WholeNumber, default=0)  # counts this user's entries: 1, 2, 3, …
    available_inr: Mapped[int] = mapped_column(WholeNumber, default=0)
    available_btc: Mapped[int] = mapped_column(WholeNumber, default=0)
    reserved_inr: Mapped[int] = mapped_column(WholeNumber, default=0)
    reserved_btc: Mapped[int] = mapped_column(WholeNumber, default=0)
    collateral_btc: Mapped[int] = mapped_column(WholeNumber, default=0)
    borrowed_inr: Mapped[int] = mapped_column(WholeNumber, default=0)
    interest_accrued: Mapped[int] = mapped_column(WholeNumber, default=0)
    # The newest link of the user's hash chain (domain/chain.py), and the `seq` that it stands for. Below `seq` where a
    # process of an older version posted, or before `ledger chain` has run. `chain` stays before `chain_seq`: MariaDB
    # assigns in this order, and the one depends on the other.
    chain: Mapped[str] = mapped_column(ascii_text(64), default="", server_default=sa.text("''"))
    chain_seq: Mapped[int] = mapped_column(WholeNumber, default=0, server_default=sa.text("0"))
