"""Backups: the whole database as MariaDB's own dump, with its place in the binary log, and the way back.

`dumping` makes one · `restoring` brings one back, up to any moment that the binary log holds · `manifest` is what stands
beside it and shows that it is whole · `programs` runs MariaDB's programs and OpenSSL. It must not know who asks.
"""

from bittrade.services.backup.dumping import back_up
from bittrade.services.backup.programs import BackupFailed
from bittrade.services.backup.restoring import finish, restore

__all__ = ["BackupFailed", "back_up", "finish", "restore"]
