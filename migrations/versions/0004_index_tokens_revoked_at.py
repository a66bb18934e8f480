"""An index for what every web process asks each second: whose tokens were all revoked just now.

The step looks before it creates, as in 0001: the same upgrade can simply be run again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INDEX, TABLE = "ix_users_tokens_revoked_at", "users"


def is_there() -> bool:
    return INDEX in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(TABLE)}


def upgrade() -> None:
    if not is_there():
        op.create_index(INDEX, TABLE, ["tokens_revoked_at"])


def downgrade() -> None:
    if is_there():
        op.drop_index(INDEX, table_name=TABLE)
