"""A Redis that cannot work is refused at the start, with the reason; one that is only away is waited for."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import config
import redis_address
from dev.services import PrivateRedis, find_redis_server, free_port
from tests.fixtures import ROOT, wait_until


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis+sentinel://a:26379,b:26379/mymaster/0", "Sentinel"),
        ("sentinel://a:26379", "Sentinel"),
        ("redis+sentinel://a:26379,b:26379/0", "/number/name"),
        ("redis+sentinel://a:26379/0/mymaster/more", "/number/name"),
        ("redis+sentinel://a:port/0/mymaster", "master"),
        ("redis+sentinel://,a/0/mymaster", "no Sentinel"),
        ("redis+sentinel://a/0/mymaster?socket_timeout=60", "socket_timeout"),
        ("rediss+sentinel://a:26379", "Sentinel"),
        ("redis+cluster://a:6379/0", "cluster"),
        ("rediscluster://a:6379", "cluster"),
        ("redis://a:6379,b:6379/0", "port"),
        ("redis://a,b/0", "no single server"),
        ("localhost:6379", "no scheme"),
        ("reds://localhost", "reds://"),
        ("REDIS://localhost", "REDIS://"),
        ("http://localhost:6379", "http://"),
        ("valkey://localhost:6379", "valkey://"),
        ("redis:/localhost:6379", "no scheme"),
        ("unix://", "no socket"),
        ("redis://localhost:port/0", "port"),
        ("redis://localhost:70000/0", "port"),
        ("redis://localhost:6379/cache", "number of the database"),
        ("redis://localhost:6379/0/1", "number of the database"),
        ("redis://localhost:6379/-1", "number of the database"),
        ("redis://localhost:6379?db=one", "no number"),
        ("redis://:pa/ss@localhost:6379/0", "%2F"),
        ("redis://:pa#ss@localhost:6379/0", "%23"),
        ("redis://localhost:6379/0#x", "%23"),
        ("redis://localhost:6379/0?ssl=true", "ssl"),
        ("redis://localhost:6379/0?decode_responses=true", "decode_responses"),
        ("redis://localhost:6379/0?socket_timeout=60", "socket_timeout"),
        ("rediss://localhost:6379/0?ssl_cert_reqs=maybe", "refuses"),
        ("redis://localhost:6379/0?ssl_cert_reqs=none", "refuses"),
    ],
)
@pytest.mark.parametrize("name", config.REDIS_URLS)
def test_an_address_that_cannot_work_is_refused_with_the_reason(name: str, url: str, reason: str) -> None:
    with pytest.raises(config.ConfigurationError) as refused:
        config.load(BITTRADE_ENV="testing", **{name: url})
    assert f"{name} " in str(refused.value)
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://localhost:6379/15",
        "redis://:p%2Fw%40@cache:6379/0",
        "redis://user:p@cache/1?client_name=web",
        "redis://[::1]:6379/0",
        "redis://cache:6379?db=3",
        "rediss://:p@cache:6380/0?ssl_cert_reqs=none",
        "unix:///run/redis/redis.sock?db=2",
        "redis+sentinel://a:26379,b,[::1]:26380/0/mymaster",
        "redis+sentinel://user:p%2Fw@a/1/mymaster?sentinel_password=s",
    ],
)
def test_an_address_that_works_is_taken(url: str) -> None:
    assert url == config.load(BITTRADE_ENV="testing", REDIS_URL=url).REDIS_URL


def test_what_sentinel_s_address_says_reaches_its_clients() -> None:
    url = "redis+sentinel://user:p%2Fw@a:1,b,[::1]:3/4/mymaster?sentinel_password=s"
    pool = redis_address.make_pool(url, max_connections=7, wait_s=0.5, socket_timeout=2)
    assert isinstance(pool, redis_address._MasterPool)
    assert (pool.service_name, pool.max_connections, pool.timeout) == ("mymaster", 7, 0.5)
    assert {
        name: pool.connection_kwargs[name] for name in ("db", "username", "password", "socket_timeout")
    } == {
        "db": 4,
        "username": "user",
        "password": "p/w",
        "socket_timeout": 2,
    }
    asked = [client.connection_pool.connection_kwargs for client in pool.sentinel_manager.sentinels]
    assert [(one["host"], one["port"], one["password"]) for one in asked] == [
        ("a", 1, "s"),
        ("b", 26379, "s"),
        ("::1", 3, "s"),
    ]


def test_installations_by_sentinel_differ_by_number_and_name() -> None:
    urls = [f"redis+sentinel://a,b/{path}" for path in ("0/one", "1/one", "0/two")]
    ids = {config.load(BITTRADE_ENV="testing", REDIS_URL=url).INSTALLATION_ID for url in urls}
    assert len(ids) == 3


@pytest.mark.parametrize("parts", [{"REDIS_HOST": "redis://cache"}, {"REDIS_HOST": "cache:6379"}])
def test_parts_that_make_no_address_are_refused(parts: dict[str, str]) -> None:
    with pytest.raises(config.ConfigurationError):
        config.load(BITTRADE_ENV="testing", REDIS_URL="", **parts)


def test_a_host_with_colons_is_put_in_brackets() -> None:
    loaded = config.load(BITTRADE_ENV="testing", REDIS_URL="", REDIS_HOST="::1")
    assert loaded.REDIS_URL == "redis://[::1]:6379/0"


# --- what answers -------------------------------------------------------------------------------------------------


@pytest.fixture(params=["cluster", "sentinel"])
def wrong_kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address of a Redis that answers and cannot be ours, and what it is."""
    port = next(port for port in iter(free_port, None) if port < 55_000)  # a cluster takes one 10,000 above
    (tmp_path / "sentinel.conf").write_text(f"port {port}\nbind 127.0.0.1\n")
    arguments = {
        "cluster": ["--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes", "--save", ""],
        "sentinel": ["sentinel.conf", "--sentinel"],
    }[request.param]
    server = subprocess.Popen([str(find_redis_server()), *arguments], cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        url = f"redis://127.0.0.1:{port}/0"
        wait_until(lambda: answers(url), timeout_s=30)
        yield url, request.param
    finally:
        server.kill()
        server.wait()


def answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url) as client:
            return bool(client.info())
    except redis.ConnectionError:
        return False


@pytest.mark.parametrize(
    "command",
    [["worker.py"], ["worker.py", "scheduler"], ["-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]],
)
def test_a_server_of_the_wrong_kind_ends_every_process_with_the_reason(
    wrong_kind: tuple[str, str], command: list[str]
) -> None:
    url, kind = wrong_kind
    environment = os.environ | {"REDIS_URL": url, "PORT": str(free_port())}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert "BitTrade will not start" in done.stderr
    assert f"REDIS_URL is a {'Sentinel' if kind == 'sentinel' else 'node of a cluster'}" in done.stderr


def test_one_that_is_away_and_one_that_is_right_may_start(
    private_redis: PrivateRedis, nobody_listens: int
) -> None:
    for url in (private_redis.url, f"redis://127.0.0.1:{nobody_listens}/0"):
        config.load(BITTRADE_ENV="testing", REDIS_URL=url, QUEUE_REDIS_URL=url).check_redis_servers()


def test_one_that_does_not_say_what_it_is_may_start(private_redis: PrivateRedis) -> None:
    with redis.Redis.from_url(private_redis.url) as client:
        client.execute_command("ACL", "SETUSER", "default", "-info")
    assert redis_address.find_kind_fault(private_redis.url) is None
