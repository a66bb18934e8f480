"""What a user holds: the row that a trade locks, reads and updates."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bittrade.domain.ledger import BALANCE_ACCOUNTS
from bittrade.extensions import db
from bittrade.models.types import MYSQL_TABLE, BigKey, WholeNumber


class Balance(db.Model):  # type: ignore[name-defined]
    """Rupees and satoshis per account. Only `services.ledger.post` writes here."""

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
