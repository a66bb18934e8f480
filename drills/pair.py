"""Two MariaDBs, one the other's replica, behind one name that can be pointed at either.

The name is a small TCP forwarder. As with a name in DNS, connections that are open stay where they lead when it moves.
"""

import secrets
import socket
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from dev.services import LOOPBACK
from drills.mariadb import PrivateMariaDB, ServiceFailed

CATCH_UP_TIMEOUT_S = 30


class Name:
    """A port that leads to another: to whichever was named last when a connection is opened."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server((LOOPBACK, 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._is_closed = False
        threading.Thread(target=self._accept, name="name", daemon=True).start()

    def close(self) -> None:
        self._is_closed = True
        self._listener.close()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((LOOPBACK, self.target), timeout=2)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for source, sink in ((client, server), (server, client)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass on what comes, until either end closes; then close both."""
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


class ReplicatedPair:
    """A primary and its replica; `url` goes by the name."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)
        password = secrets.token_hex(16)
        self.primary, self.replica = (
            PrivateMariaDB(
                folder / role,
                password=password,
                log_bin="bin",
                server_id=number,
                innodb_log_file_size="16M",
                innodb_buffer_pool_size="64M",
            )
            for number, role in enumerate(("a", "b"), 1)
        )
        self._ending = ExitStack()
        self.name: Name | None = None

    @property
    def url(self) -> str:
        if self.name is None:
            raise ServiceFailed("the pair was never installed")
        return self.primary.url_through(self.name.port)

    def install(self) -> None:
        """Start both, and let the one follow the other, read-only."""
        for server in (self.primary, self.replica):
            self._ending.callback(server.close)
            server.install()
            server.administer("RESET MASTER")  # both were made alike; what follows is replicated
        self.primary.administer(
            f"CREATE USER replica@'{LOOPBACK}' IDENTIFIED BY 'loopback'",
            f"GRANT REPLICATION SLAVE ON *.* TO replica@'{LOOPBACK}'",
        )
        self.replica.administer(
            f"CHANGE MASTER TO MASTER_HOST='{LOOPBACK}', MASTER_PORT={self.primary.port}, MASTER_USER='replica',"
            " MASTER_PASSWORD='loopback', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1",
            "SET GLOBAL read_only = 1",
            "START SLAVE",
        )
        self.name = Name(self.primary.port)
        self._ending.callback(self.name.close)

    def demote(self) -> None:
        """Make the primary read-only; it stays up, and so do its connections."""
        self.primary.administer("SET GLOBAL read_only = 1")

    def promote(self) -> None:
        """Once the replica has everything it becomes the primary, and the name leads to it."""
        position = self.primary.administer("SELECT @@global.gtid_binlog_pos AS p")[0]["p"]
        deadline = time.monotonic() + CATCH_UP_TIMEOUT_S
        while self.replica.administer("SELECT @@global.gtid_slave_pos AS p")[0]["p"] != position:
            if time.monotonic() > deadline:
                raise ServiceFailed(
                    f"the replica did not catch up:\n{self.replica.administer('SHOW SLAVE STATUS')}"
                )
            time.sleep(0.02)
        self.replica.administer("STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only = 0")
        self.primary, self.replica = self.replica, self.primary
        if self.name is not None:
            self.name.target = self.primary.port

    def close(self) -> None:
        self._ending.close()
