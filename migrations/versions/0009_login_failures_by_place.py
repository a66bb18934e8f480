"""Failed logins are counted apart for each place that they come from.

The table's key changes. What it holds is forgotten within a day anyway, so it is made anew. Every step looks before it
acts, as in 0001: the same upgrade can simply be run again.
"""

import sqlalchemy as sa
from alembic import op

from bittrade.models.types import MYSQL_TABLE, UtcDateTime, ascii_text

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLE, INDEX, PLACE = "login_failures", "ix_login_failures_last_failed_at", "bucket"


def make_anew(*, with_place: bool) -> None:
    """Leave the table with or without the place in its key, whatever state an earlier try left it in."""
    if sa.inspect(op.get_bind()).has_table(TABLE):
        columns = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(TABLE)}
        if (PLACE in columns) != with_place:
            op.drop_table(TABLE)
    if not sa.inspect(op.get_bind()).has_table(TABLE):
        place = [sa.Column(PLACE, ascii_text(64), nullable=False)] if with_place else []
        op.create_table(
            TABLE,
            sa.Column("email_normalized", ascii_text(254), nullable=False),
            *place,
            sa.Column("failures", sa.Integer(), nullable=False),
            sa.Column("last_failed_at", UtcDateTime(), nullable=False),
            sa.Column("locked_until", UtcDateTime(), nullable=True),
            sa.CheckConstraint("failures >= 0", name="failures"),
            sa.PrimaryKeyConstraint("email_normalized", *[column.name for column in place], name=f"pk_{TABLE}"),
            **MYSQL_TABLE,
        )
    if INDEX not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(TABLE)}:
        op.create_index(INDEX, TABLE, ["last_failed_at"])


def upgrade() -> None:
    make_anew(with_place=True)


def downgrade() -> None:
    make_anew(with_place=False)
