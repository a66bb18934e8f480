"""A Galera cluster of our own: three MariaDBs on loopback that all write, to be killed and stopped at will."""

import secrets
from contextlib import ExitStack
from pathlib import Path

from dev.services import LOOPBACK, free_port
from drills.mariadb import PrivateMariaDB

PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
NODES = 3
# Shorter than a client's time-out of 5 s: a commit that waits for a dead node is answered, and not given up.
SUSPECT = "evs.keepalive_period=PT0.5S;evs.inactive_check_period=PT0.25S;evs.suspect_timeout=PT2S;evs.inactive_timeout=PT4S"


class Node(PrivateMariaDB):
    """One server of a cluster."""

    def __init__(self, folder: Path, place: int, ports: list[int], passwords: tuple[str, str]) -> None:
        peers = ",".join(f"{LOOPBACK}:{port}" for port in ports)
        own = f"{LOOPBACK}:{ports[place]}"
        options = f"gmcast.listen_addr=tcp://{own};ist.recv_addr={LOOPBACK}:{free_port()};gcache.size=64M"
        super().__init__(
            folder,
            password=passwords[0],
            root_password=passwords[1],
            wsrep_on="ON",
            wsrep_provider=PROVIDER,
            wsrep_cluster_name="drill",
            wsrep_cluster_address=f"gcomm://{peers}",
            wsrep_node_name=f"node{place}",
            wsrep_node_address=own,
            wsrep_sst_method="rsync",
            wsrep_sst_receive_address=f"{LOOPBACK}:{free_port()}",
            wsrep_provider_options=f"{options};{SUSPECT}",
            wsrep_slave_threads=2,
            # A read sees what any node has acknowledged before it began.
            wsrep_sync_wait=1,
            binlog_format="ROW",
            innodb_autoinc_lock_mode=2,
            innodb_log_file_size="16M",
            innodb_buffer_pool_size="64M",
        )
        self._is_founding = False

    def found(self) -> None:
        """Install the first node of a new cluster."""
        self._is_founding = True
        self.install()
        self._is_founding = False

    def join(self) -> None:
        """Install a further node; it copies everything from the others, its users too."""
        self._make_data()
        self.start()

    def is_synced(self) -> bool:
        """Return whether it serves, as a part of a cluster that has a majority."""
        rows = self.administer("SHOW STATUS LIKE 'wsrep_ready'")
        return bool(rows) and rows[0]["Value"] == "ON"

    def _options(self) -> list[str]:
        return [*super()._options(), *(["--wsrep-new-cluster"] if self._is_founding else [])]


class Cluster:
    """Three nodes. The first is never killed, so that the checker finds the books there."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)
        ports, passwords = [free_port() for _ in range(NODES)], (secrets.token_hex(16), secrets.token_hex(16))
        self.nodes = [Node(folder / str(place), place, ports, passwords) for place in range(NODES)]
        self._ending = ExitStack()

    @property
    def url(self) -> str:
        return self.nodes[0].url

    def install(self) -> None:
        """Start all of them, one after the other."""
        for node in self.nodes:
            self._ending.callback(node.close)
        self.nodes[0].found()
        for node in self.nodes[1:]:
            node.join()

    def go_on_alone(self) -> None:
        """Make the first node a cluster of its own, after the majority is gone: an operator's decision."""
        self.nodes[0].administer("SET GLOBAL wsrep_provider_options='pc.bootstrap=YES'")

    def close(self) -> None:
        self._ending.close()
