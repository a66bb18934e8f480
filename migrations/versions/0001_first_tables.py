"""The first tables.

MariaDB and MySQL commit after every DDL statement, so an upgrade that is killed stays half done. Every step therefore
looks before it creates: the same upgrade can simply be run again.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from bittrade.models.types import MYSQL_TABLE, BigKey, LongText, UtcDateTime, ascii_text, text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "audit_events",
    "bitcoin_chart_data",
    "bitcoin_data",
    "bitcoin_sentiment",
    "login_failures",
    "settings",
    "users",
    "balances",
    "idempotency_keys",
    "quotes",
    "sessions",
    "transactions",
    "ledger_legs",
)
# SQLite would take 1.5 or a text in an INTEGER column.
ONLY_INTEGERS = [
    sa.CheckConstraint(f"typeof({column}) = 'integer'", name=f"{column}_integer").ddl_if(dialect="sqlite")
    for column in (
        "available_inr",
        "available_btc",
        "reserved_inr",
        "reserved_btc",
        "collateral_btc",
        "borrowed_inr",
        "interest_accrued",
    )
]


def create_table(name: str, *parts: Any) -> None:
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *parts, **MYSQL_TABLE)


def create_index(name: str, table: str, columns: list[str]) -> None:
    if name not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, columns)


def upgrade() -> None:
    create_table(
        "audit_events",
        sa.Column("id", BigKey, autoincrement=True, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("action", ascii_text(40), nullable=False),
        sa.Column("actor", text(300), nullable=False),
        sa.Column("user_id", BigKey, nullable=True),
        sa.Column("address", ascii_text(64), nullable=True),
        sa.Column("request_id", ascii_text(64), nullable=True),
        sa.Column("facts", LongText, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_events"),
    )
    create_index("ix_audit_events_at", "audit_events", ["at"])
    create_index("ix_audit_events_user_id", "audit_events", ["user_id"])
    create_table(
        "bitcoin_chart_data",
        sa.Column("timeframe", ascii_text(8), nullable=False),
        sa.Column("points", LongText, nullable=False),
        sa.Column("price_change_bps", sa.BigInteger(), nullable=True),
        sa.Column("date_from", UtcDateTime(), nullable=False),
        sa.Column("date_to", UtcDateTime(), nullable=False),
        sa.Column("last_updated", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("timeframe", name="pk_bitcoin_chart_data"),
    )
    create_table(
        "bitcoin_data",
        sa.Column("id", BigKey, autoincrement=True, nullable=False),
        sa.Column("btc_usd_cents", sa.BigInteger(), nullable=False),
        sa.Column("market_cap_usd", sa.BigInteger(), nullable=True),
        sa.Column("volume_24h_usd", sa.BigInteger(), nullable=True),
        sa.Column("high_24h_usd_cents", sa.BigInteger(), nullable=True),
        sa.Column("ath_usd_cents", sa.BigInteger(), nullable=True),
        sa.Column("ath_date", sa.Date(), nullable=True),
        sa.Column("ath_change_bps", sa.BigInteger(), nullable=True),
        sa.Column("source", ascii_text(32), nullable=False),
        sa.Column("as_of", UtcDateTime(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("btc_usd_cents > 0", name="price_positive"),
        sa.PrimaryKeyConstraint("id", name="pk_bitcoin_data"),
    )
    create_index("ix_bitcoin_data_created_at", "bitcoin_data", ["created_at"])
    create_table(
        "bitcoin_sentiment",
        sa.Column("id", BigKey, autoincrement=True, nullable=False),
        sa.Column("fear_greed_value", sa.Integer(), nullable=False),
        sa.Column("fear_greed_classification", ascii_text(32), nullable=False),
        sa.Column("data_date", sa.Date(), nullable=False),
        sa.Column("last_updated", UtcDateTime(), nullable=False),
        sa.CheckConstraint("fear_greed_value BETWEEN 0 AND 100", name="value_range"),
        sa.PrimaryKeyConstraint("id", name="pk_bitcoin_sentiment"),
        sa.UniqueConstraint("data_date", name="uq_bitcoin_sentiment_data_date"),
    )
    create_table(
        "login_failures",
        sa.Column("email_normalized", ascii_text(254), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_failed_at", UtcDateTime(), nullable=False),
        sa.Column("locked_until", UtcDateTime(), nullable=True),
        sa.CheckConstraint("failures >= 0", name="failures"),
        sa.PrimaryKeyConstraint("email_normalized", name="pk_login_failures"),
    )
    create_index("ix_login_failures_last_failed_at", "login_failures", ["last_failed_at"])
    create_table(
        "settings",
        sa.Column("key", ascii_text(64), nullable=False),
        sa.Column("value", ascii_text(255), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_settings"),
    )
    create_table(
        "users",
        sa.Column("id", BigKey, autoincrement=True, nullable=False),
        sa.Column("email", text(254), nullable=False),
        sa.Column("email_normalized", ascii_text(254), nullable=False),
        sa.Column("name", text(100), nullable=False),
        sa.Column("password_hash", ascii_text(120), nullable=False),
        sa.Column("disabled_at", UtcDateTime(), nullable=True),
        sa.Column("tokens_revoked_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email_normalized", name="uq_users_email_normalized"),
    )
    create_table(
        "balances",
        sa.Column("user_id", BigKey, autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("available_inr", sa.BigInteger(), nullable=False),
        sa.Column("available_btc", sa.BigInteger(), nullable=False),
        sa.Column("reserved_inr", sa.BigInteger(), nullable=False),
        sa.Column("reserved_btc", sa.BigInteger(), nullable=False),
        sa.Column("collateral_btc", sa.BigInteger(), nullable=False),
        sa.Column("borrowed_inr", sa.BigInteger(), nullable=False),
        sa.Column("interest_accrued", sa.BigInteger(), nullable=False),
        *ONLY_INTEGERS,
        sa.CheckConstraint("available_btc >= 0", name="available_btc_not_negative"),
        sa.CheckConstraint("available_inr >= 0", name="available_inr_not_negative"),
        sa.CheckConstraint("borrowed_inr >= 0", name="borrowed_inr_not_negative"),
        sa.CheckConstraint("collateral_btc >= 0", name="collateral_btc_not_negative"),
        sa.CheckConstraint("interest_accrued >= 0", name="interest_accrued_not_negative"),
        sa.CheckConstraint("reserved_btc >= 0", name="reserved_btc_not_negative"),
        sa.CheckConstraint("reserved_inr >= 0", name="reserved_inr_not_negative"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_balances_user_id_users"),
        sa.PrimaryKeyConstraint("user_id", name="pk_balances"),
    )
    create_table(
        "idempotency_keys",
        sa.Column("user_id", BigKey, autoincrement=False, nullable=False),
        sa.Column("route", ascii_text(32), nullable=False),
        sa.Column("key", ascii_text(255), nullable=False),
        sa.Column("fingerprint", ascii_text(64), nullable=False),
        sa.Column("answer", LongText, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_idempotency_keys_user_id_users"),
        sa.PrimaryKeyConstraint("user_id", "route", "key", name="pk_idempotency_keys"),
    )
    create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    create_table(
        "quotes",
        sa.Column("id", ascii_text(32), nullable=False),
        sa.Column("user_id", BigKey, nullable=False),
        sa.Column("price", LongText, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("used_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_quotes_user_id_users"),
        sa.PrimaryKeyConstraint("id", name="pk_quotes"),
    )
    create_index("ix_quotes_expires_at", "quotes", ["expires_at"])
    create_index("ix_quotes_user_id", "quotes", ["user_id"])
    create_table(
        "sessions",
        sa.Column("jti", ascii_text(64), nullable=False),
        sa.Column("user_id", BigKey, nullable=False),
        sa.Column("issued_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id_users"),
        sa.PrimaryKeyConstraint("jti", name="pk_sessions"),
    )
    create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    create_index("ix_sessions_revoked_at", "sessions", ["revoked_at"])
    create_index("ix_sessions_user_id", "sessions", ["user_id"])
    create_table(
        "transactions",
        sa.Column("id", BigKey, autoincrement=True, nullable=False),
        sa.Column("user_id", BigKey, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("type", ascii_text(20), nullable=False),
        sa.Column("status", ascii_text(10), nullable=False),
        sa.Column("is_pending", sa.Boolean(), nullable=False),
        sa.Column("btc_amount", sa.BigInteger(), nullable=False),
        sa.Column("inr_amount", sa.BigInteger(), nullable=False),
        sa.Column("execution_price", sa.BigInteger(), nullable=True),
        sa.Column("receipt", LongText, nullable=True),
        sa.Column("reverses_id", BigKey, nullable=True),
        sa.Column("client_order_id", ascii_text(64), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("executed_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("status IN ('PENDING', 'EXECUTED', 'CANCELLED', 'FAILED')", name="status"),
        sa.CheckConstraint(
            "type IN ('MARKET_BUY', 'MARKET_SELL', 'DEPOSIT', 'WITHDRAWAL', 'REVERSAL')",
            name="type",
        ),
        sa.CheckConstraint("btc_amount >= 0 AND inr_amount >= 0", name="amounts_not_negative"),
        sa.ForeignKeyConstraint(
            ["reverses_id"], ["transactions.id"], name="fk_transactions_reverses_id_transactions"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_transactions_user_id_users"),
        sa.PrimaryKeyConstraint("id", name="pk_transactions"),
        sa.UniqueConstraint("reverses_id", name="uq_transactions_reverses_id"),
        sa.UniqueConstraint("user_id", "client_order_id", name="uq_transactions_user_id_client_order_id"),
        sa.UniqueConstraint("user_id", "seq", name="uq_transactions_user_id_seq"),
    )
    create_index("ix_transactions_history", "transactions", ["user_id", "is_pending", "id"])
    create_table(
        "ledger_legs",
        sa.Column("id", BigKey, autoincrement=True, nullable=False),
        sa.Column("transaction_id", BigKey, nullable=False),
        sa.Column("user_id", BigKey, nullable=True),
        sa.Column("account", ascii_text(32), nullable=False),
        sa.Column("asset", ascii_text(3), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("asset IN ('INR', 'BTC')", name="asset"),
        sa.CheckConstraint("amount <> 0", name="amount_not_zero"),
        sa.ForeignKeyConstraint(
            ["transaction_id"], ["transactions.id"], name="fk_ledger_legs_transaction_id_transactions"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_ledger_legs_user_id_users"),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_legs"),
    )
    create_index("ix_ledger_legs_transaction_id", "ledger_legs", ["transaction_id"])
    create_index("ix_ledger_legs_user_account", "ledger_legs", ["user_id", "account"])

    settings = sa.table(
        "settings", sa.column("key"), sa.column("value"), sa.column("updated_at", UtcDateTime())
    )
    known = set(op.get_bind().scalars(sa.select(settings.c.key)))
    for key, value in (("buy_multiplier", "91"), ("sell_multiplier", "88")):
        if key not in known:
            op.get_bind().execute(
                settings.insert().values(key=key, value=value, updated_at=datetime.now(UTC))
            )


def downgrade() -> None:
    inspector = sa.inspect(op.get_bind())
    for name in reversed(TABLES):
        if inspector.has_table(name):
            op.drop_table(name)
