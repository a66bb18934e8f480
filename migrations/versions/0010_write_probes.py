"""A row for each process to write, so that health knows whether the database takes writes.

The step looks before it creates, as in 0001: the same upgrade can simply be run again.
"""

import sqlalchemy as sa
from alembic import op

from bittrade.models.types import MYSQL_TABLE, UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLE = "write_probes"


def is_there() -> bool:
    return sa.inspect(op.get_bind()).has_table(TABLE)


def upgrade() -> None:
    if not is_there():
        op.create_table(
            TABLE,
            sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
            sa.Column("written_at", UtcDateTime(), nullable=False),
            sa.PrimaryKeyConstraint("id", name="pk_write_probes"),
            **MYSQL_TABLE,
        )


def downgrade() -> None:
    if is_there():
        op.drop_table(TABLE)
