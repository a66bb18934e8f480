"""Two installations on one Redis server: what one keeps or says there is nothing to the other, whatever they differ in."""

import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
from flask import Flask

import config
from bittrade import cache, metrics
from bittrade.extensions import limits_storage, own, queue_redis
from bittrade.jobs.alone import alone
from bittrade.jobs.schedule import QUEUES, schedule
from bittrade.jobs.scheduler import SteadyScheduler
from bittrade.services.market.watch import STATE_KEY
from bittrade.sockets.delivery import PatientRedisManager, Seal
from dev.services import PrivateRedis
from tests.fixtures import wait_until
from worker import MarketWorker

SECRET = secrets.token_hex(32)
Settings = dict[str, str]


def _number(url: str, number: int) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{number}"))


@pytest.fixture(params=["number", "database", "secret", "name"])
def two(
    request: pytest.FixtureRequest,
    new_app: Callable[..., Flask],
    private_redis: PrivateRedis,
    new_sqlite: Callable[[], str],
) -> tuple[Flask, Flask]:
    """Two applications that differ in one thing alone."""
    first = {"DATABASE_URL": new_sqlite(), "REDIS_URL": private_redis.url, "JWT_SECRET": SECRET}
    other = {
        "number": {"REDIS_URL": _number(private_redis.url, 3)},
        "database": {"DATABASE_URL": new_sqlite()},
        "secret": {"JWT_SECRET": secrets.token_hex(32)},
        "name": {"INSTALLATION": "staging"},
    }[request.param]
    return new_app(**first), new_app(**{**first, **other})


def use(app: Flask) -> None:
    """Write everything that BitTrade writes in Redis."""
    with app.app_context():
        cache.put("user_balance_5", {"seq": 1}, 60)
        assert cache.claim("filling_x", ttl_ms=60_000)
        limits_storage().incr("limit:x", 60)
        alone(leave_state)()
        scheduler(app).tick()


def leave_state() -> str:
    queue_redis().set(own(STATE_KEY), "x")
    return "done"


def scheduler(app: Flask) -> SteadyScheduler:
    table = schedule(price_interval_s=30, ledger_interval_s=3600)
    with app.app_context():
        return SteadyScheduler(
            connection=queue_redis(), table=table, installation=app.config["INSTALLATION_ID"]
        )


def keys(app: Flask) -> set[bytes]:
    """Return every name in the app's Redis but RQ's list of queues, each of which is an installation's."""
    with app.app_context():
        return set(queue_redis().keys()) - {b"rq:queues"}


def test_no_name_in_redis_is_shared(two: tuple[Flask, Flask]) -> None:
    first, second = two
    use(first)
    firsts = keys(first)
    use(second)
    seconds = keys(second) - firsts
    assert len(seconds) == len(firsts) > 10
    own_keys = {key for key in seconds if not key.startswith(b"rq:scheduler_instance:")}  # each process' own
    assert all(second.config["INSTALLATION_ID"].encode() in key for key in own_keys)
    with second.app_context():
        queue_redis().delete(*seconds)
    assert firsts <= keys(first)


def test_the_other_s_cache_limits_and_schedule_are_not_seen(two: tuple[Flask, Flask]) -> None:
    first, second = two
    use(first)
    with second.app_context():
        assert cache.get("user_balance_5") is None
        assert cache.claim("filling_x", ttl_ms=1000)
        assert limits_storage().incr("limit:x", 60) == 1
        assert scheduler(second).next_runs() == {}
        assert MarketWorker(second, queue_redis()).queues[0].count == 0
    with first.app_context():
        worker = MarketWorker(first, queue_redis())
        assert [queue.name for queue in worker.queues] == [own(queue) for queue in QUEUES]
        assert worker.queues[0].count == 1


def manager(app: Flask) -> PatientRedisManager:
    made: PatientRedisManager = app.wsgi_app.engineio_app.manager  # type: ignore[attr-defined]
    return made


def heard_by(app: Flask, publish: Callable[[redis.Redis], None]) -> list[bytes]:
    """Return what the app's sockets would be handed while others publish, up to a last event of the app's own."""
    ours, heard = manager(app), []

    def listen() -> None:
        for message in ours._listen():
            heard.append(message)
            if b"the last" in message:
                return

    listening = threading.Thread(target=listen, daemon=True)
    with redis.Redis.from_url(ours.redis_url) as client:

        def listeners() -> int:
            return int(client.pubsub_numsub(ours.channel)[0][1])

        others = listeners()  # of tests before this one: they listen for as long as their app lives
        listening.start()
        wait_until(lambda: listeners() > others)
        publish(client)
    ours._publish({"method": "the last"})
    listening.join(10)
    assert not listening.is_alive()
    return heard[:-1]


def test_the_other_s_events_are_not_heard(two: tuple[Flask, Flask]) -> None:
    first, second = two
    event = {"method": "emit", "event": "user_balance_update", "room": "user:5"}
    assert heard_by(first, lambda _client: manager(second)._publish(event)) == []


def test_an_event_that_another_wrote_into_our_channel_is_not_believed(
    new_app: Callable[..., Flask], new_sqlite: Callable[[], str], private_redis: PrivateRedis
) -> None:
    app = new_app(DATABASE_URL=new_sqlite(), REDIS_URL=private_redis.url)  # nobody else counts what it hears
    event = b'{"method": "emit", "event": "user_balance_update", "data": [{}], "room": "user:5"}'
    sealed = Seal("the secret of another").close(event.decode())
    forged = (b"", b"x", event, sealed, b"0" * 32 + event)
    before = metrics.EVENTS.values["foreign",]

    def publish(client: redis.Redis) -> None:
        for message in forged:
            client.publish(manager(app).channel, message)

    assert heard_by(app, publish) == []
    assert metrics.EVENTS.values["foreign",] == before + len(forged)


def test_doctor_tells_of_the_other_on_the_same_server(two: tuple[Flask, Flask]) -> None:
    first, second = two
    before = second.test_cli_runner().invoke(args=["doctor"]).output
    assert "Other installations" not in before
    use(first)
    told = second.test_cli_runner().invoke(args=["doctor"]).output
    assert f"within a day: {first.config['INSTALLATION_ID']}. This one is" in told


# --- what makes two of them ---------------------------------------------------------------------------------------


def identity(**settings: str) -> str:
    same = {
        "DATABASE_URL": "mysql+pymysql://app:one@db/bittrade",
        "REDIS_URL": "redis://cache:6379/0",
        "JWT_SECRET": SECRET,
    }
    return config.load(BITTRADE_ENV="testing", **{**same, **settings}).INSTALLATION_ID


@pytest.mark.parametrize(
    "other",
    [
        {"DATABASE_URL": "mysql+pymysql://app:one@db/staging"},
        {"REDIS_URL": "redis://cache:6379/1"},
        {"REDIS_URL": "redis://cache:6379?db=1"},
        {"QUEUE_REDIS_URL": "redis://cache:6379/1"},
        {"JWT_SECRET": "another " * 4},
        {"INSTALLATION": "staging"},
    ],
)
@pytest.mark.parametrize("named", [{}, {"INSTALLATION": "shop"}])
def test_every_difference_makes_another_installation(named: Settings, other: Settings) -> None:
    assert identity(**{**named, **other}) != identity(**named)


@pytest.mark.parametrize(
    "other",
    [
        {"DATABASE_URL": "mysql+pymysql://other:two@db:3306/bittrade?charset=utf8mb4"},
        {"REDIS_URL": "redis://:password@cache:6379/0"},
        {"REDIS_URL": "redis://cache"},
        {"REDIS_URL": "rediss://cache:6379/0"},
        {"PORT": "3002"},
    ],
)
def test_what_only_says_how_to_get_there_makes_none(other: Settings) -> None:
    assert identity(**other) == identity()


def test_a_name_makes_one_of_processes_that_write_their_hosts_differently() -> None:
    near = {"DATABASE_URL": "mysql+pymysql://app@localhost/bittrade", "REDIS_URL": "redis://10.0.0.5/0"}
    assert identity(**near) != identity()
    assert identity(INSTALLATION="shop", **near) == identity(INSTALLATION="shop")
    assert identity(INSTALLATION="shop").startswith("shop-")


def test_two_folders_of_one_machine_are_two(tmp_path: Path) -> None:
    assert identity(DATABASE_URL="sqlite:///bittrade.db") == identity(
        DATABASE_URL=f"sqlite:///{config.INSTANCE}/bittrade.db"
    )
    assert identity(DATABASE_URL=f"sqlite:///{tmp_path}/bittrade.db") != identity(
        DATABASE_URL="sqlite:///bittrade.db"
    )
