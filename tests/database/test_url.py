"""Addresses of databases as hosters write them: they work, or are refused with the mend and without the password."""

import os
import subprocess
import sys

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.mysql.pymysql import dialect

import config
from bittrade.database import engine_options
from bittrade.extensions import db
from database_url import normalize
from tests.fixtures import ROOT, build_app

HOST = "mysql://doadmin:s3cret@db.example.com:25060/defaultdb"
SYSTEM = {"capath": "/etc/ssl/certs"}


def driver_options(text: str) -> dict[str, object]:
    """What PyMySQL is called with for an address."""
    url = sa.make_url(normalize(text))
    options = dialect().create_connect_args(url)[1] | engine_options(url, pool_size=1)["connect_args"]
    return {name: value for name, value in options.items() if name.startswith(("ssl", "unix"))}


@pytest.mark.parametrize(
    "scheme", ["mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql", "mysql+mysqldb", "MySQL2+x"]
)
def test_each_name_of_the_driver_is_pymysql_s(scheme: str) -> None:
    text = f"{scheme}://u:p%40ss@db.example.com:3307/trade"
    if scheme == "MySQL2+x":
        with pytest.raises(ValueError, match="mysql2"):
            normalize(text)
        return
    url = sa.make_url(normalize(text))
    assert (url.drivername, url.password, url.port, url.database) == ("mysql+pymysql", "p@ss", 3307, "trade")


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {}),
        ("ssl-mode=PREFERRED", {}),
        ("ssl-mode=REQUIRED", {"ssl_verify_cert": "false"}),
        ("sslmode=require", {"ssl_verify_cert": "false"}),
        ("ssl_mode=REQUIRED", {"ssl_verify_cert": "false"}),
        ("ssl=true", {"ssl_verify_cert": "false"}),
        ("useSSL=true&serverTimezone=UTC", {"ssl_verify_cert": "false"}),
        ('ssl={"rejectUnauthorized":false}', {"ssl_verify_cert": "false"}),
        ("tls=skip-verify", {"ssl_verify_cert": "false"}),
        ('ssl={"rejectUnauthorized":true}', {"ssl": {**SYSTEM, "check_hostname": True}}),
        ("sslaccept=strict", {"ssl": {**SYSTEM, "check_hostname": True}}),
        ("ssl-mode=VERIFY_CA", {"ssl": {**SYSTEM, "check_hostname": False}}),
        ("ssl-mode=VERIFY_IDENTITY&ssl-ca=/ca.pem", {"ssl": {"ca": "/ca.pem", "check_hostname": True}}),
        ("ssl_ca=/ca.pem&ssl_verify_cert=true", {"ssl": {"ca": "/ca.pem", "check_hostname": False}}),
        ("ssl-mode=REQUIRED&ssl-ca=/ca.pem", {"ssl": {"ca": "/ca.pem", "check_hostname": False}}),
        ("ssl-mode=DISABLED", {"ssl_disabled": "true"}),
        ("ssl_disabled=false", {}),
        ("reconnect=true&connection_limit=5&charset=utf8&timezone=Z", {}),
        ("socket=/run/mysqld.sock", {"unix_socket": "/run/mysqld.sock"}),
    ],
)
def test_what_hosters_and_other_programs_add(query: str, options: dict[str, object]) -> None:
    assert driver_options(f"{HOST}?{query}") == options


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("postgres://u:s3cret@h/d", "MariaDB"),
        ("jdbc:mysql://u:s3cret@h/d", "mysql://"),
        ("mysql://u:s3cret@h:3306", "/bittrade"),
        ("mysql://u:s3/cr@et@h:33o6/d", "%40"),
        ("db.example.com", "mysql://"),
        (f"{HOST}?ssl-mode=SOMETIMES", "REQUIRED"),
        (f"{HOST}?ssl={{broken", "VERIFY_IDENTITY"),
        (f"{HOST}?defaultAuth=x", "take defaultAuth away"),
    ],
)
def test_what_cannot_work_does_not_start_and_says_what_to_write(text: str, mend: str) -> None:
    with pytest.raises(config.ConfigurationError) as refused:
        config.load(DATABASE_URL=text)
    assert mend in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_a_server_without_tls_is_not_talked_to_where_tls_is_required(mariadb_url: str) -> None:
    with_tls = mariadb_url.replace("mysql+pymysql", "mysql") + "&ssl-mode=REQUIRED"
    app = build_app(DATABASE_URL=with_tls, REDIS_URL="redis://127.0.0.1:9")
    with app.app_context(), pytest.raises(sa.exc.OperationalError, match="SSL"), db.engine.connect():
        pass


def test_a_hoster_s_address_is_served(mariadb_url: str) -> None:
    address = mariadb_url.replace("mysql+pymysql", "mariadb").replace(
        "charset=utf8mb4", "ssl-mode=PREFERRED&reconnect=1"
    )
    app = build_app(DATABASE_URL=address, REDIS_URL="redis://127.0.0.1:9")
    with app.app_context(), db.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1


def test_the_parts_of_an_address_may_be_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)
    loaded = config.load(DATABASE_URL="", REDIS_URL="", DB_HOST="::1", REDIS_HOST="::1")
    assert sa.make_url(loaded.DATABASE_URL).host == "::1"
    assert loaded.REDIS_URL == "redis://[::1]:6379/0"


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_gunicorn_binds_to_an_ipv6_address(host: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--print-config", "-c", "gunicorn.conf.py", "wsgi:app"],
        env=os.environ | {"HOST": host, "PORT": "3456"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "[::1]:3456" in done.stdout
