"""Configuration: `.env.example` and config.py say the same, and production refuses to start on what is not safe."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

import config
from tests.fixtures import ROOT

EXAMPLE = ROOT / ".env.example"
LINE = re.compile(r"(?:# )?([A-Z][A-Z0-9_]*)=(.*)")
GOOD_SECRET = "0123456789abcdef" * 4
MARIADB = "mysql+pymysql://bittrade@db/bittrade"


def example() -> dict[str, str]:
    matches = (LINE.fullmatch(line) for line in EXAMPLE.read_text().splitlines())
    pairs = [(match[1], match[2]) for match in matches if match]
    assert len(pairs) == len(dict(pairs)), "a variable stands there twice"
    return dict(pairs)


def written(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without .env, and an environment without our variables."""
    monkeypatch.chdir(tmp_path)
    for name in config.Config.model_fields:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


FIELDS = {str(field.validation_alias or name): field for name, field in config.Config.model_fields.items()}


def test_the_example_lists_exactly_the_variables_that_are_read() -> None:
    assert set(example()) == set(FIELDS)


def test_the_example_s_values_are_the_defaults() -> None:
    defaults = {name: written(field.default) for name, field in FIELDS.items()}
    assert example() == defaults


def test_the_example_explains_every_variable_in_the_line_above() -> None:
    lines = EXAMPLE.read_text().splitlines()
    for above, line in pairwise(lines):
        if LINE.fullmatch(line):
            assert re.match(r"# \S", above), line
            assert not LINE.fullmatch(above), line


def test_the_example_can_be_used_as_it_is(nowhere: Path) -> None:
    (nowhere / ".env").write_text(re.sub(r"(?m)^# (?=[A-Z0-9_]+=)", "", EXAMPLE.read_text()))
    used = config.load()
    (nowhere / ".env").unlink()
    assert used.model_dump() == config.load().model_dump()


def test_without_any_variable_it_is_development_on_sqlite(nowhere: Path) -> None:
    loaded = config.load()
    assert (loaded.BITTRADE_ENV, loaded.PORT, loaded.is_sqlite) == ("development", 3001, True)
    assert loaded.REDIS_URL == "redis://localhost:6379/0"


def test_the_document_s_variables_make_the_addresses(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DB_HOST": "db.internal",
        "DB_PORT": "3307",
        "DB_NAME": "trade",
        "DB_USER": "us:er",
        "DB_PASSWORD": "p@ss/word",
        "REDIS_HOST": "cache.internal",
        "REDIS_PORT": "6380",
        "REDIS_PASSWORD": "s:e/c",
        "REDIS_DB": "3",
    }.items():
        monkeypatch.setenv(name, value)
    loaded = config.load()
    assert (
        loaded.DATABASE_URL == "mysql+pymysql://us%3Aer:p%40ss%2Fword@db.internal:3307/trade?charset=utf8mb4"
    )
    assert loaded.REDIS_URL == loaded.QUEUE_REDIS_URL == "redis://:s%3Ae%2Fc@cache.internal:6380/3"


def test_whole_addresses_win_over_their_parts(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DB_HOST": "x",
        "DATABASE_URL": MARIADB,
        "REDIS_HOST": "y",
        "REDIS_URL": "redis://z/1",
    }.items():
        monkeypatch.setenv(name, value)
    loaded = config.load()
    assert (loaded.DATABASE_URL, loaded.REDIS_URL) == (MARIADB, "redis://z/1")


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("", "not set"),
        ("too short", "32 bytes"),
        ("x" * 31, "32 bytes"),
        ("bittrade_secret_key_2024", "printed"),
        ("your_super_secure_jwt_secret_key_here", "printed"),
        ("super_secure_production_jwt_secret_256_bit", "printed"),
        (config.DEVELOPMENT_SECRET, "printed"),
    ],
)
def test_production_refuses_to_start_without_a_secret_of_its_own_and_says_why(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, secret: str, why: str
) -> None:
    monkeypatch.setenv("JWT_SECRET", secret)
    with pytest.raises(SystemExit) as refused:
        config.load(BITTRADE_ENV="production", DATABASE_URL=MARIADB)
    assert "JWT_SECRET" in str(refused.value)
    assert why in str(refused.value)
    assert not secret or secret not in str(refused.value)


def test_production_starts_with_a_secret_of_32_bytes(nowhere: Path) -> None:
    loaded = config.load(BITTRADE_ENV="production", DATABASE_URL=MARIADB, JWT_SECRET=GOOD_SECRET[:32])
    assert loaded.IS_PRODUCTION


def test_production_refuses_sqlite(nowhere: Path) -> None:
    with pytest.raises(SystemExit, match="SQLite is for development"):
        config.load(BITTRADE_ENV="production", JWT_SECRET=GOOD_SECRET)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "three"),
        ("BCRYPT_COST", "3"),
        ("MAX_PRICE_AGE_S", "-1"),
        ("LOG_LEVEL", "loud"),
        ("SOCKET_TRANSPORTS", "pigeon"),
        ("BITTRADE_ENV", "staging"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named_and_refused(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as refused:
        config.load()
    assert name in str(refused.value)


def test_a_variable_that_is_empty_counts_as_not_set(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORT", "DB_HOST", "REDIS_URL", "BITTRADE_ENV", "CORS_ORIGINS"):
        monkeypatch.setenv(name, "")
    assert config.load().PORT == 3001


def test_several_web_processes_speak_websocket_alone(nowhere: Path) -> None:
    assert config.load(WEB_CONCURRENCY=2).SOCKET_TRANSPORTS == ["websocket"]
    assert config.load(WEB_CONCURRENCY=1).SOCKET_TRANSPORTS == ["polling", "websocket"]


def test_production_that_only_the_file_names_is_production(nowhere: Path) -> None:
    (nowhere / ".env").write_text("BITTRADE_ENV=production\n")
    with pytest.raises(config.ConfigurationError, match="JWT_SECRET is not set"):
        config.load()


# --- Origins and hosts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origins",
    [
        "https://*.shop.example",
        "https://shop.example*",
        "*.shop.example",
        "*,https://shop.example",
        "https://shop.example/",
        "https://shop.example/app",
        "https://shop.example?x",
        "https://shop.example:443",
        "http://shop.example:80",
        "https://shop.example:",
        "https://shop.example:0x50",
        "https://user@shop.example",
        "shop.example",
        "//shop.example",
        "https://",
        "https://shop.example https://other.example",
        "https://(a|b).example",
        "https://shop.example$",
        "https://.",
        "https://sh\u00f6p.example",
        "null",
        "http://[::1",
    ],
)
def test_only_origins_may_be_named_as_origins(nowhere: Path, origins: str) -> None:
    with pytest.raises(SystemExit, match="CORS_ORIGINS"):
        config.load(CORS_ORIGINS=origins)


def test_origins_are_taken_as_browsers_write_them(nowhere: Path) -> None:
    named = "https://Shop.example, http://localhost:3000,http://[::1]:8080 , capacitor://localhost,https://xn--shp-tna.example"
    assert config.load(CORS_ORIGINS=named).CORS_ORIGINS == [
        "https://shop.example",
        "http://localhost:3000",
        "http://[::1]:8080",
        "capacitor://localhost",
        "https://xn--shp-tna.example",
    ]
    assert config.load(CORS_ORIGINS="*").CORS_ORIGINS == ["*"]
    assert config.load(TRUSTED_HOSTS="API.example.com").TRUSTED_HOSTS == ["api.example.com"]


# --- The mode -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["environment", "dotenv"])
@pytest.mark.parametrize(
    ("ours", "node", "mode"),
    [
        ("", "production", "production"),
        ("", "development", "development"),
        ("", "test", "development"),
        ("", "", "development"),
        ("development", "production", "development"),
        ("production", "development", "production"),
    ],
)
def test_node_env_counts_where_ours_is_not_set(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, where: str, ours: str, node: str, mode: str
) -> None:
    monkeypatch.delenv("NODE_ENV", raising=False)
    named = {"BITTRADE_ENV": ours, "NODE_ENV": node}
    if where == "dotenv":
        dotenv = nowhere / ".env"
        dotenv.touch(mode=0o600)
        dotenv.write_text("".join(f"{name}={value}\n" for name, value in named.items()))
    else:
        for name, value in named.items():
            monkeypatch.setenv(name, value)
    loaded = config.load(JWT_SECRET=GOOD_SECRET, DATABASE_URL=MARIADB)
    assert (mode, mode == "production") == (loaded.BITTRADE_ENV, loaded.IS_PRODUCTION)
