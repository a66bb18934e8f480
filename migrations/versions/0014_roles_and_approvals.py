"""Roles of users, movements of money that wait for a second admin, and the staff's notes.

It only adds: code of before goes on, and the accounts that it opens have the role `user`. Every step looks before it
creates, as in 0001: the same upgrade can simply be run again.
"""

import sqlalchemy as sa
from alembic import op

from migrations.checks import add_check, drop_check

from bittrade.models.types import MYSQL_TABLE, BigKey, UtcDateTime, ascii_text, text

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

ROLE_CHECK = "ck_users_role"
INDEXES = {
    "approvals": {"ix_approvals_status": ["status", "id"], "ix_approvals_user_id": ["user_id"]},
    "user_notes": {"ix_user_notes_user_id": ["user_id"]},
}


def has_role() -> bool:
    return "role" in {column["name"] for column in sa.inspect(op.get_bind()).get_columns("users")}


def tables() -> set[str]:
    return set(sa.inspect(op.get_bind()).get_table_names())


def of_user(table: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], ["users.id"], name=f"fk_{table}_{column}_users")


def upgrade() -> None:
    if not has_role():
        op.add_column("users", sa.Column("role", ascii_text(16), nullable=False, server_default="user"))
    add_check("users", ROLE_CHECK, "role IN ('user', 'support', 'admin')")
    if "approvals" not in tables():
        create_approvals()
    if "user_notes" not in tables():
        create_notes()
    for table, indexes in INDEXES.items():
        known = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}
        for name, columns in indexes.items():
            if name not in known:
                op.create_index(name, table, columns)


def create_approvals() -> None:
    op.create_table(
        "approvals",
        sa.Column("id", BigKey, autoincrement=True, nullable=False),
        sa.Column("kind", ascii_text(16), nullable=False),
        sa.Column("status", ascii_text(16), nullable=False),
        sa.Column("user_id", BigKey, nullable=False),
        sa.Column("inr", sa.BigInteger(), nullable=False),
        sa.Column("satoshis", sa.BigInteger(), nullable=False),
        sa.Column("value_inr", sa.BigInteger(), nullable=True),
        sa.Column("reverses_id", BigKey, nullable=True),
        sa.Column("client_order_id", ascii_text(64), nullable=True),
        sa.Column("reason", text(500), nullable=False),
        sa.Column("requested_by", BigKey, nullable=False),
        sa.Column("requested_at", UtcDateTime(), nullable=False),
        sa.Column("decided_by", BigKey, nullable=True),
        sa.Column("decided_at", UtcDateTime(), nullable=True),
        sa.Column("decision", text(500), nullable=True),
        sa.Column("transaction_id", BigKey, nullable=True),
        sa.CheckConstraint("kind IN ('deposit', 'withdrawal', 'reversal')", name=op.f("ck_approvals_kind")),
        sa.CheckConstraint(
            "status IN ('PENDING', 'APPROVED', 'REJECTED')", name=op.f("ck_approvals_status")
        ),
        sa.CheckConstraint(
            "decided_by IS NULL OR decided_by <> requested_by", name=op.f("ck_approvals_two_persons")
        ),
        *(of_user("approvals", column) for column in ("user_id", "requested_by", "decided_by")),
        sa.PrimaryKeyConstraint("id", name="pk_approvals"),
        **MYSQL_TABLE,
    )


def create_notes() -> None:
    op.create_table(
        "user_notes",
        sa.Column("id", BigKey, autoincrement=True, nullable=False),
        sa.Column("user_id", BigKey, nullable=False),
        sa.Column("author_id", BigKey, nullable=False),
        sa.Column("body", text(2000), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        *(of_user("user_notes", column) for column in ("user_id", "author_id")),
        sa.PrimaryKeyConstraint("id", name="pk_user_notes"),
        **MYSQL_TABLE,
    )


def downgrade() -> None:
    for table in ("user_notes", "approvals"):
        if table in tables():
            op.drop_table(table)
    drop_check("users", ROLE_CHECK)
    if has_role():
        op.drop_column("users", "role")
