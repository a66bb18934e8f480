"""What stands before everything: whose host, how many hops, which headers; and which secrets a start refuses."""

import io
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

import config
from bittrade import create_app
from bittrade.extensions import limits_storage, queue_redis
from dev.services import PrivateRedis
from tests.fixtures import PASSWORD, ROOT, Person

NewApp = Callable[..., Flask]
GOOD = {
    "BITTRADE_ENV": "production",
    "JWT_SECRET": "0123456789abcdef" * 4,
    "DATABASE_URL": "mysql+pymysql://bittrade:s3cret@db/bittrade",
    "REDIS_URL": "redis://:s3cret@redis/0",
}


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without .env, and an environment without our variables."""
    monkeypatch.chdir(tmp_path)
    for name in config.Config.model_fields:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


# --- Hosts and headers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/api/health", "/api/balance", "/socket.io/?EIO=4&transport=polling", "/nothing"]
)
@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("api.example.com", True),
        ("api.example.com:3001", True),
        ("API.Example.com", True),
        ("a.shop.example.com", True),
        ("A.SHOP.example.com:3001", True),
        ("evil.com", False),
        ("api.example.com.evil.com", False),
        ("evil.com:api.example.com", False),
        ("", False),
        ("127.0.0.1", False),
    ],
)
def test_only_our_own_hosts_are_served(new_app: NewApp, path: str, host: str, is_ours: bool) -> None:
    app = new_app(TRUSTED_HOSTS=["Api.Example.com", ".shop.Example.com"])
    answer = FlaskClient(app, app.response_class).get(path, headers={"Host": host})
    if is_ours:
        assert answer.status_code in (200, 401, 404)
    else:
        assert (answer.status_code, answer.get_json()["code"]) == (400, "untrusted_host")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_without_trusted_hosts_any_host_is_served(client: FlaskClient) -> None:
    assert client.get("/api/health", headers={"Host": "anything.example"}).status_code == 200


def test_production_says_that_only_https_will_do(new_app: NewApp, client: FlaskClient) -> None:
    app = new_app()
    assert "Strict-Transport-Security" not in client.get("/api/health").headers
    app.config["IS_PRODUCTION"] = True
    for path in ("/api/health", "/nothing", "/api/balance"):
        header = app.test_client().get(path).headers["Strict-Transport-Security"]
        assert int(header.partition("max-age=")[2].partition(";")[0]) >= 31_536_000


def test_every_answer_has_the_safe_headers(client: FlaskClient, user: Person) -> None:
    for path in (
        "/api/health",
        "/api/balance",
        "/nothing",
        "/api/transactions.csv",
        "/api/openapi.json",
        "/api/docs/events",
    ):
        headers = client.get(path, headers=user.headers).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"


def test_metrics_and_detailed_health_are_not_public(client: FlaskClient) -> None:
    answer = client.get("/metrics")
    assert answer.status_code in (401, 403, 404)
    told = client.get("/api/health").get_json()
    assert not {"host", "url", "version", "database_url", "redis_url", "hostname", "errors"} & set(told)


def test_by_default_no_page_of_another_origin_is_answered_in_production(
    nowhere: Path, new_app: NewApp
) -> None:
    assert config.load(**GOOD).CORS_ORIGINS == []
    app = new_app(CORS_ORIGINS=[])
    answer = app.test_client().get("/api/health", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers
    listed = new_app(CORS_ORIGINS=["https://shop.example"]).test_client()
    for origin, is_allowed in (("https://shop.example", True), ("https://evil.example", False)):
        answer = listed.get("/api/health", headers={"Origin": origin})
        assert (answer.headers.get("Access-Control-Allow-Origin") == origin) == is_allowed
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    ("listed", "origin", "is_allowed"),
    [
        ("http://[::1]:3000", "http://[::1]:3000", True),
        ("http://[::1]:3000", "http://1:3000", False),
        ("https://shop.example", "https://SHOP.example", True),
        ("https://shop.example", "https://shopxexample", False),
        ("https://shop.example", "https://shop.example.evil.example", False),
        ("https://shop.example", "https://evil.example/https://shop.example", False),
        ("https://shop.example", "null", False),
    ],
)
def test_an_origin_is_compared_and_never_a_pattern(
    new_app: NewApp, listed: str, origin: str, is_allowed: bool
) -> None:
    client = new_app(CORS_ORIGINS=["https://other.example", listed]).test_client()
    for path in ("/api/health", "/api/nothing"):
        answer = client.get(path, headers={"Origin": origin})
        assert (answer.headers.get("Access-Control-Allow-Origin") == origin) == is_allowed


def test_what_is_refused_before_flask_can_be_read_by_our_own_pages(new_app: NewApp) -> None:
    app = new_app(CORS_ORIGINS=["https://shop.example"], TRUSTED_HOSTS=["x.example"])
    client = FlaskClient(app, app.response_class)
    for origin, is_allowed in (("https://shop.example", True), ("https://evil.example", False)):
        answer = client.get("/api/health", headers={"Origin": origin})
        assert answer.get_json()["code"] == "untrusted_host"
        assert (answer.headers.get("Access-Control-Allow-Origin") == origin) == is_allowed


@pytest.mark.parametrize("origins", [["*"], ["https://shop.example"]])
def test_no_socket_answer_lets_a_page_send_credentials(new_app: NewApp, origins: list[str]) -> None:
    app = new_app(CORS_ORIGINS=origins)
    answer = FlaskClient(app, app.response_class).get(
        "/socket.io/?EIO=4&transport=polling", headers={"Origin": "https://shop.example"}
    )
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] in ("*", "https://shop.example")
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    "value", ["", "é", "[::1", "[::1]:x", "a:b", "x:99999", ":", "x" * 5000, "a b", '"', "%", ","]
)
@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "Origin",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "Forwarded",
    ],
)
def test_no_header_of_a_proxy_is_a_5xx(new_app: NewApp, user: Person, name: str, value: str) -> None:
    app = new_app(TRUSTED_PROXY_HOPS=1)
    client = FlaskClient(app, app.response_class)
    headers = {**user.headers, name: value}
    login = client.post("/api/auth/login", json={"email": user.email, "password": PASSWORD}, headers=headers)
    assert login.status_code in (200, 400)
    for path in ("/api/balance", "/nothing", "/socket.io/?EIO=4&transport=polling"):
        assert client.get(path, headers=headers).status_code < 500


@pytest.mark.parametrize("origins", [[], ["https://shop.example"]])
def test_no_socket_opens_from_a_page_of_another_origin(new_app: NewApp, origins: list[str]) -> None:
    app = new_app(CORS_ORIGINS=origins)
    answer = FlaskClient(app, app.response_class).get(
        "/socket.io/?EIO=4&transport=polling", headers={"Origin": "https://evil.example"}
    )
    assert answer.status_code == 400
    assert "Access-Control-Allow-Origin" not in answer.headers


# --- Bodies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [64 * 1024 + 1, 100_000, 5_000_000])
def test_a_body_without_a_length_is_cut_at_64_kib(client: FlaskClient, user: Person, size: int) -> None:
    answer = client.post(
        "/api/trade",
        input_stream=io.BytesIO(b" " * size),
        content_type="application/json",
        headers=user.headers,
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert (answer.status_code, answer.get_json()["code"]) == (413, "body_too_large")


def test_a_body_that_ends_too_early_is_400(client: FlaskClient, user: Person) -> None:
    answer = client.post(
        "/api/trade",
        input_stream=io.BytesIO(b"{}"),
        content_type="application/json",
        headers=user.headers,
        environ_overrides={"CONTENT_LENGTH": "100"},
    )
    assert answer.status_code == 400


@pytest.mark.parametrize("sign", ["é", "\u74b0", "\x00", "\U0001f511", "%"])
def test_what_no_column_of_ids_can_hold_is_not_looked_for(
    client: FlaskClient, user: Person, sign: str
) -> None:
    """MariaDB does not compare such text with an ASCII column: an error of its own, which looked like an outage."""
    by_id = client.get("/api/transactions", query_string={"client_order_id": sign}, headers=user.headers)
    assert by_id.status_code == 400
    ended = client.delete(f"/api/auth/sessions/{sign}", headers=user.headers)
    assert (ended.status_code, ended.get_json()["code"]) == (404, "session_not_found")


# --- What production refuses --------------------------------------------------------------------------------------


def test_production_starts_with_what_is_good(nowhere: Path) -> None:
    assert config.load(**GOOD).IS_PRODUCTION


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"JWT_SECRET": ""}, "JWT_SECRET is not set"),
        ({"JWT_SECRET": "short"}, "fewer than 32 bytes"),
        ({"JWT_SECRET": "a" * 64}, "can be guessed"),
        ({"JWT_SECRET": "bittrade_secret_key_2024"}, "printed"),
        ({"JWT_SECRET": "your_super_secure_jwt_secret_key_here"}, "printed"),
        ({"JWT_SECRET": "super_secure_production_jwt_secret_256_bit"}, "printed"),
        ({"JWT_SECRET": config.DEVELOPMENT_SECRET}, "printed"),
        ({"JWT_SECRET": "change-me-" * 8}, "printed"),
        ({"JWT_SECRET_PREVIOUS": "bittrade_secret_key_2024"}, "JWT_SECRET_PREVIOUS is printed"),
        ({"JWT_SECRET_PREVIOUS": "short"}, "JWT_SECRET_PREVIOUS has fewer"),
        (
            {"DATABASE_URL": "mysql+pymysql://u:secure_password@db/x"},
            "DATABASE_URL has a password that documents print",
        ),
        ({"REDIS_URL": "redis://:redis_password@r/0"}, "REDIS_URL has a password that documents print"),
        ({"QUEUE_REDIS_URL": "redis://:change-me@r/0"}, "QUEUE_REDIS_URL has a password"),
        ({"DATABASE_URL": "sqlite:///x.db"}, "SQLite"),
        ({"DATABASE_URL": "sqlite:///x.db", "WEB_CONCURRENCY": 4}, "SQLite"),
        ({"CORS_ORIGINS": ["*"]}, "CORS_ORIGINS is \\*"),
        ({"FLASK_DEBUG": True}, "FLASK_DEBUG is on"),
    ],
)
def test_production_refuses_to_start_and_says_why(nowhere: Path, bad: dict[str, Any], why: str) -> None:
    with pytest.raises(SystemExit, match=why):
        config.load(**{**GOOD, **bad})


def test_all_reasons_are_said_at_once_and_no_secret_with_them(nowhere: Path) -> None:
    secret = "hunter2-hunter2"
    with pytest.raises(SystemExit) as refused:
        config.load(**{**GOOD, "JWT_SECRET": secret, "CORS_ORIGINS": ["*"], "FLASK_DEBUG": True})
    told = str(refused.value)
    assert told.count("\n  ") == 3
    assert secret not in told
    assert "s3cret" not in told


def test_production_refuses_a_dotenv_that_others_can_read(nowhere: Path) -> None:
    dotenv = nowhere / ".env"
    dotenv.write_text("")
    dotenv.chmod(0o644)
    with pytest.raises(SystemExit, match="chmod 600"):
        config.load(**GOOD)
    dotenv.chmod(0o600)
    assert stat.S_IMODE(dotenv.stat().st_mode) == 0o600
    config.load(**GOOD)


def test_no_secret_stands_in_the_code() -> None:
    names = ("JWT_SECRET", "JWT_SECRET_PREVIOUS", "DB_PASSWORD", "REDIS_PASSWORD", "COINGECKO_API_KEY")
    assert {config.Config.model_fields[name].default for name in names} == {""}


# --- Redis, doctor ------------------------------------------------------------------------------------------------


def test_redis_takes_password_and_tls_by_url_and_never_waits_for_ever() -> None:
    url = "rediss://web:s3cret@redis.example:6380/2"
    app = create_app(config.load(BITTRADE_ENV="testing", REDIS_URL=url, QUEUE_REDIS_URL=url))
    with app.app_context():
        for pool in (limits_storage().storage.connection_pool, queue_redis().connection_pool):
            made = pool.connection_class(**pool.connection_kwargs)
            assert type(made).__name__ == "SSLConnection"
            assert (made.host, made.port, made.db, made.password) == ("redis.example", 6380, 2, "s3cret")
            assert made.socket_connect_timeout <= 2
            assert made.cert_reqs.name == "CERT_REQUIRED"


def test_doctor_says_what_is_wrong_and_how_to_mend_it(
    new_app: NewApp, nobody_listens: int, price: None
) -> None:
    ailing = new_app(
        REDIS_URL=f"redis://127.0.0.1:{nobody_listens}/0", JWT_SECRET_PREVIOUS="x" * 40, HOST="0.0.0.0"
    )
    told = ailing.test_cli_runner().invoke(args=["doctor"])
    assert told.exit_code == 1
    for fault, remedy in (
        ("nothing unsafe is refused", "BITTRADE_ENV=production"),
        ("No request is limited", "RATELIMIT_ENABLED"),
        ("BCRYPT_COST is 4", "BCRYPT_COST=12"),
        ("The secret before is still accepted", "Unset JWT_SECRET_PREVIOUS 24 h after"),
        ("Requests for any Host", "TRUSTED_HOSTS"),
        ("Any web page", "CORS_ORIGINS"),
        ("no proxy is trusted", "TRUSTED_PROXY_HOPS"),
        ("Redis does not answer", "Start it"),
    ):
        assert fault in told.output
        assert remedy in told.output


def test_doctor_says_when_database_tables_or_price_are_missing(
    new_app: NewApp, nobody_listens: int, new_sqlite: Callable[[], str], app: Flask
) -> None:
    def told(**settings: Any) -> str:
        return str(new_app(**settings).test_cli_runner().invoke(args=["doctor"]).output)

    assert "database does not answer" in told(DATABASE_URL=f"mysql+pymysql://x@127.0.0.1:{nobody_listens}/x")
    assert "flask --app wsgi db upgrade" in told(DATABASE_URL=new_sqlite())
    assert "SQLite has one writer" in told(DATABASE_URL=new_sqlite(), WEB_CONCURRENCY=2)
    assert "no price fresh enough" in told()


def test_doctor_has_nothing_to_say_about_a_good_deployment(
    new_app: NewApp, private_redis: PrivateRedis, price: None
) -> None:
    good = new_app(
        REDIS_URL=private_redis.url,  # the run's own may have other users
        RATELIMIT_ENABLED=True,
        BCRYPT_COST=12,
        TRUSTED_HOSTS=["x.example"],
        CORS_ORIGINS=["https://x.example"],
    )
    good.config["IS_PRODUCTION"] = True
    told = good.test_cli_runner().invoke(args=["doctor"])
    left = [line for line in told.output.splitlines() if line.startswith("- ")]
    assert [line for line in left if "database user" not in line] == []  # the tests' own may do everything


def test_a_start_that_is_refused_is_one_that_doctor_explains(nowhere: Path) -> None:
    import subprocess
    import sys

    environment = {
        "PATH": "/usr/bin:/bin",
        "BITTRADE_ENV": "production",
        "CORS_ORIGINS": "*",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "doctor"],
        env=environment,
        cwd=nowhere,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "JWT_SECRET is not set. Make one with: openssl rand -hex 32" in done.stderr
    assert "CORS_ORIGINS is *" in done.stderr
