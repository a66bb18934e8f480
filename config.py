"""Reads the environment, once: `load()` gives the configuration that `BITTRADE_ENV` (or `NODE_ENV`) names.

Every variable is a field below; `.env.example` lists them all, and a test holds the two together. Flask sees the same
upper-case names in `app.config`.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

from dotenv import dotenv_values
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

import redis_address
from database_url import normalize

# Printed in documents, so known to everybody: never good enough for production.
PRINTED_SECRETS = {
    "bittrade_secret_key_2024",
    "your_super_secure_jwt_secret_key_here",
    "super_secure_production_jwt_secret_256_bit",
    "secure_password",
    "very_secure_production_password",
    "redis_password",
    "secure_redis_password",
}
PLACEHOLDER = "change-me"
DEVELOPMENT_SECRET = "development-only-secret-not-for-production"  # noqa: S105 - refused in production
INSTANCE = Path(__file__).parent / "instance"  # where Flask-SQLAlchemy puts an SQLite file without a folder
LOOPBACK = ("localhost", "127.0.0.1", "::1", None)
DEFAULT_PORTS = {"redis": 6379, "rediss": 6379}
MIN_SECRET_BYTES = 32
MIN_DIFFERENT_SIGNS = 8

EXTRAS = {"SENTRY_DSN": "sentry_sdk", "OTEL_EXPORTER_OTLP_ENDPOINT": "opentelemetry.exporter.otlp.proto.http"}
REDIS_URLS = ("REDIS_URL", "QUEUE_REDIS_URL")

HASH_COST, HASH_S = 12, 0.3  # what a bcrypt hash takes of a core of today
RateLimit = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8} per (second|minute|hour|day)$")]


class ConfigurationError(SystemExit):
    """The server must not start like this. Ends the process with the reason."""


class Config(BaseSettings):
    """What every environment shares. Times end in `_S`, sizes in `_BYTES`."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", case_sensitive=True, env_ignore_empty=True
    )

    BITTRADE_ENV: Literal["development", "production", "testing"] = "development"
    HOST: str = "127.0.0.1"
    PORT: int = Field(3001, ge=1, le=65535)
    WEB_CONCURRENCY: int = Field(1, ge=1, le=256)
    FLASK_DEBUG: bool = False
    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    LOG_FORMAT: Literal["text", "json"] = "text"
    LOG_REQUESTS: bool = False
    SENTRY_DSN: str = ""
    OTEL_EXPORTER_OTLP_ENDPOINT: str = Field("", pattern=r"^(https?://.+)?$")
    METRICS_PORT: int = Field(0, ge=0, le=65535)  # 0: no metrics
    METRICS_HOST: str = "127.0.0.1"
    # Node's variable, which the first server read. Flask has a setting of that name, so it has another one here.
    DEBUG_PARTS: Annotated[list[str], NoDecode] = Field([], validation_alias="DEBUG")

    DATABASE_URL: str = ""
    DB_HOST: str = ""
    DB_PORT: int = Field(3306, ge=1, le=65535)
    DB_NAME: str = "bittrade"
    DB_USER: str = "root"
    DB_PASSWORD: str = ""
    BACKUP_DATABASE_URL: str = ""
    DB_POOL_SIZE: int = Field(16, ge=1, le=200)
    DATABASE_REPLICA_URL: str = ""
    MAX_REPLICA_LAG_S: int = Field(5, ge=0, le=3600)

    INSTALLATION: str = Field("", pattern=r"^[a-z0-9-]{0,32}$")
    REDIS_URL: str = ""
    REDIS_HOST: str = "localhost"
    REDIS_PORT: int = Field(6379, ge=1, le=65535)
    REDIS_PASSWORD: str = ""
    REDIS_DB: int = Field(0, ge=0)
    QUEUE_REDIS_URL: str = ""

    JWT_SECRET: str = ""
    JWT_SECRET_PREVIOUS: str = ""  # still accepted while JWT_SECRET is being replaced
    JWT_LIFETIME_S: int = Field(24 * 3600, ge=60)
    BCRYPT_COST: int = Field(12, ge=4, le=16)
    LOGIN_FAILURES_BEFORE_LOCK: int = Field(10, ge=1)

    COINGECKO_API_URL: str = "https://api.coingecko.com/api/v3"
    COINGECKO_API_KEY: str = ""
    COINGECKO_CALLS_PER_MINUTE: int = Field(10, ge=1, le=10_000)
    COINGECKO_CALLS_PER_MONTH: int = Field(100_000, ge=0)  # 0: no limit
    COINBASE_API_URL: str = "https://api.exchange.coinbase.com"
    COINBASE_CALLS_PER_MINUTE: int = Field(10, ge=1, le=10_000)
    COINBASE_CALLS_PER_MONTH: int = Field(0, ge=0)
    KRAKEN_API_URL: str = "https://api.kraken.com/0/public"
    KRAKEN_CALLS_PER_MINUTE: int = Field(10, ge=1, le=10_000)
    KRAKEN_CALLS_PER_MONTH: int = Field(0, ge=0)
    FEAR_GREED_API_URL: str = "https://api.alternative.me/fng"
    FEAR_GREED_CALLS_PER_MINUTE: int = Field(10, ge=1, le=10_000)
    PRICE_SOURCES: Annotated[list[str], NoDecode] = ["coingecko", "coinbase", "kraken"]
    PRICE_INTERVAL_S: int = Field(30, ge=1, le=3600)
    MAX_PRICE_AGE_S: int = Field(90, ge=1, le=86400)
    PRICE_JUMP_LIMIT_PCT: float = Field(20, gt=0, le=1000)
    PRICE_CONFIRM_WITHIN_PCT: float = Field(1, gt=0, le=100)
    PRICE_CHECK_BAND_PCT: float = Field(0.5, ge=0, le=100)
    PRICE_CHECK_EVERY_S: int = Field(300, ge=1, le=86400)
    PRICE_WINDOW_S: int = Field(3600, ge=60, le=86400)
    PRICE_WINDOW_LIMIT_PCT: float = Field(10, ge=0, le=1000)  # 0: no limit
    PRICE_RAW_DAYS: int = Field(7, ge=1)
    PRICE_MINUTE_DAYS: int = Field(90, ge=1)
    LEDGER_VERIFY_INTERVAL_S: int = Field(3600, ge=60)

    MIN_ORDER_INR: int = Field(1, ge=1)
    MAX_ORDER_INR: int = Field(100_000_000, ge=1, le=10**15)
    APPROVAL_ABOVE_INR: int = Field(1_000_000, ge=0, le=10**15)
    QUOTE_LIFETIME_S: int = Field(15, ge=1, le=300)

    CORS_ORIGINS: Annotated[list[str], NoDecode] = ["*"]
    SOCKET_TRANSPORTS: Annotated[list[str], NoDecode] = []
    SOCKET_NODE: str = Field("", pattern=r"^[a-z0-9]{0,16}$")
    SOCKETS_PER_PROCESS: int = Field(2500, ge=1, le=20_000)
    SOCKETS_PER_ADDRESS: int = Field(2500, ge=1, le=20_000)
    SOCKETS_PER_USER: int = Field(50, ge=1, le=20_000)
    TRUSTED_PROXY_HOPS: int = Field(0, ge=0, le=10)
    TRUSTED_HOSTS: Annotated[list[str], NoDecode] = []
    BODY_TIMEOUT_S: int = Field(10, ge=1, le=300)

    RATELIMIT_ENABLED: bool = True
    RATELIMIT_READ: RateLimit = "1000 per second"
    RATELIMIT_LOGIN: RateLimit | Literal[""] = ""  # a share of what the machine can do
    RATELIMIT_LOGIN_ACCOUNT: RateLimit = "60 per minute"
    RATELIMIT_REGISTER: RateLimit | Literal[""] = ""
    RATELIMIT_WRITE: RateLimit = "120 per minute"
    RATELIMIT_TRADE: RateLimit = "100 per second"
    RATELIMIT_TRANSFER: RateLimit = "100 per hour"
    RATELIMIT_TRANSFER_ADDRESS: RateLimit = "1000 per hour"
    RATELIMIT_ADMIN: RateLimit = "600 per minute"
    RATELIMIT_KEY: RateLimit = "100 per second"

    @field_validator(
        "CORS_ORIGINS", "DEBUG_PARTS", "SOCKET_TRANSPORTS", "PRICE_SOURCES", "TRUSTED_HOSTS", mode="before"
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )

    @field_validator("DEBUG_PARTS")
    @classmethod
    def _our_parts(cls, names: list[str]) -> list[str]:
        """`bittrade:market`, `bittrade:*` → market, *. What else stands there is other programs' (`express:*`)."""
        return [name.removeprefix("bittrade:") for name in names if name.startswith("bittrade:")]

    @field_validator("CORS_ORIGINS")
    @classmethod
    def _only_origins(cls, value: list[str]) -> list[str]:
        """Refuse what no browser ever sends as Origin, above all patterns: a `*` within lets other sites in."""
        if "*" in value and len(value) > 1:
            raise ValueError("takes * alone, or origins; not both")
        for text in value:
            if text != "*" and not is_origin(text):
                raise ValueError(
                    f"{text!r} is no origin. Write each as browsers do: https://shop.example or http://localhost:3000, "
                    "without a path, a pattern, a user or a scheme's own port"
                )
        return [text.lower() for text in value]

    @field_validator("TRUSTED_HOSTS")
    @classmethod
    def _without_case(cls, value: list[str]) -> list[str]:
        return [host.lower() for host in value]

    @model_validator(mode="after")
    def _derive(self) -> Self:
        """Fill in what follows from the rest: the two URLs, the queue's Redis, the transports."""
        self.DATABASE_URL = normalize(self.DATABASE_URL or self._database_url())
        self.DATABASE_REPLICA_URL = _normalize_replica(self.DATABASE_REPLICA_URL)
        self.BACKUP_DATABASE_URL = self.BACKUP_DATABASE_URL and normalize(self.BACKUP_DATABASE_URL)
        self.REDIS_URL = self.REDIS_URL or self._redis_url()
        self.QUEUE_REDIS_URL = self.QUEUE_REDIS_URL or self.REDIS_URL
        for name in REDIS_URLS:
            if fault := redis_address.fault_of(getattr(self, name)):
                raise ValueError(f"{name} {fault}")
        # Long polling needs every request of a client in the same process (docs/deployment.md).
        both = ["polling", "websocket"]
        self.SOCKET_TRANSPORTS = self.SOCKET_TRANSPORTS or (
            ["websocket"] if self.WEB_CONCURRENCY > 1 else both
        )
        for name, package in EXTRAS.items():
            if getattr(self, name) and not _is_installed(package):
                raise ValueError(
                    f"{name} needs a package that is not installed: pip install --require-hashes -r requirements-extras.txt"
                )
        if self.METRICS_PORT == self.PORT:
            raise ValueError("METRICS_PORT is the public port: metrics need one of their own")
        if not set(self.SOCKET_TRANSPORTS) <= set(both):
            raise ValueError("SOCKET_TRANSPORTS takes 'polling' and 'websocket'")
        self.RATELIMIT_LOGIN = self.RATELIMIT_LOGIN or self._share_of_hashes()
        self.RATELIMIT_REGISTER = self.RATELIMIT_REGISTER or self._share_of_hashes()
        self._check_prices()
        return self

    def _share_of_hashes(self) -> str:
        """A quarter of the passwords that this machine can check: what one address may ask for."""
        at_once = min(self.WEB_CONCURRENCY, os.cpu_count() or 1)  # each process makes one hash at a time
        seconds = HASH_S * 2.0 ** (self.BCRYPT_COST - HASH_COST)
        return f"{max(10, int(at_once * 60 / seconds / 4))} per minute"

    def _check_prices(self) -> None:
        known = {"coingecko", "coinbase", "kraken"}
        if not self.PRICE_SOURCES or not set(self.PRICE_SOURCES) <= known:
            raise ValueError(f"PRICE_SOURCES takes one or more of {', '.join(sorted(known))}")
        if len(set(self.PRICE_SOURCES)) != len(self.PRICE_SOURCES):
            raise ValueError("PRICE_SOURCES names a source twice")
        if self.PRICE_WINDOW_S < self.PRICE_CHECK_EVERY_S:
            raise ValueError("PRICE_WINDOW_S must not be below PRICE_CHECK_EVERY_S")
        if self.PRICE_MINUTE_DAYS < self.PRICE_RAW_DAYS:
            raise ValueError("PRICE_MINUTE_DAYS must not be below PRICE_RAW_DAYS")

    def _database_url(self) -> str:
        if not self.DB_HOST:
            return "sqlite:///bittrade.db"  # Flask-SQLAlchemy puts it under instance/
        login = quote(self.DB_USER, safe="") + (
            f":{quote(self.DB_PASSWORD, safe='')}" if self.DB_PASSWORD else ""
        )
        return (
            f"mysql+pymysql://{login}@{_in_url(self.DB_HOST)}:{self.DB_PORT}/{self.DB_NAME}?charset=utf8mb4"
        )

    def _redis_url(self) -> str:
        login = f":{quote(self.REDIS_PASSWORD, safe='')}@" if self.REDIS_PASSWORD else ""
        return f"redis://{login}{_in_url(self.REDIS_HOST)}:{self.REDIS_PORT}/{self.REDIS_DB}"

    def check_redis_servers(self) -> None:
        """Exit with the reason where a Redis answers that cannot be ours. One that is away may come back."""
        faults = {url: redis_address.find_kind_fault(url) for url in {getattr(self, n) for n in REDIS_URLS}}
        reasons = [f"  {name} {fault}" for name in REDIS_URLS if (fault := faults[getattr(self, name)])]
        if reasons:
            raise ConfigurationError("\n".join([f"BitTrade will not start ({self.BITTRADE_ENV}):", *reasons]))

    @property
    def INSTALLATION_ID(self) -> str:
        """Return what all names in Redis begin with: another for every other database, Redis number or secret.

        Hosts count only while INSTALLATION is not set: one server has different names on different machines.
        """
        urls = (self.DATABASE_URL, self.REDIS_URL, self.QUEUE_REDIS_URL)
        parts = [_place_of(url, with_host=not self.INSTALLATION) for url in urls]
        digest = hashlib.sha256("\0".join(["installation", *parts, self.JWT_SECRET]).encode()).hexdigest()[
            :12
        ]
        return f"{self.INSTALLATION}-{digest}" if self.INSTALLATION else digest

    @property
    def is_sqlite(self) -> bool:
        return self.DATABASE_URL.startswith("sqlite")

    @property
    def IS_PRODUCTION(self) -> bool:
        return self.BITTRADE_ENV == "production"


class Development(Config):
    """A developer's machine: works without any variable."""

    @model_validator(mode="after")
    def _default_secret(self) -> Self:
        self.JWT_SECRET = self.JWT_SECRET or DEVELOPMENT_SECRET
        return self


class Testing(Development):
    """The test suite: cheap hashes, and nothing from a developer's own `.env`."""

    model_config = SettingsConfigDict(env_file=None)

    BCRYPT_COST: int = 4
    TESTING: bool = True
    RATELIMIT_ENABLED: bool = False  # the tests of the limits switch them on
    # A closed port: a test that forgets to say where the sources are must not find the real ones.
    COINGECKO_API_URL: str = "http://127.0.0.1:9/api/v3"
    COINBASE_API_URL: str = "http://127.0.0.1:9/coinbase"
    KRAKEN_API_URL: str = "http://127.0.0.1:9/kraken"
    FEAR_GREED_API_URL: str = "http://127.0.0.1:9/fng"


class Production(Config):
    """Refuses to start with what only a developer may have, and says all that has to change at once."""

    CORS_ORIGINS: Annotated[list[str], NoDecode] = []  # our own pages; others have to be named
    SOCKETS_PER_ADDRESS: int = Field(500, ge=1, le=20_000)  # elsewhere all clients may have the same

    @model_validator(mode="after")
    def _refuse_weak(self) -> Self:
        if reasons := [*self._bad_secrets(), *self._bad_settings()]:
            raise ValueError("\n  ".join(reasons))
        return self

    def _bad_secrets(self) -> Iterator[str]:
        """Every secret that cannot stay one, with what to do about it."""
        if not self.JWT_SECRET:
            yield f"JWT_SECRET is not set. {MAKE_ONE}"
        for name in ("JWT_SECRET", "JWT_SECRET_PREVIOUS"):
            if (secret := getattr(self, name)) and (fault := _fault_of(secret)):
                yield f"{name} {fault}. {MAKE_ONE}"
        for name in ("DATABASE_URL", "DATABASE_REPLICA_URL", "REDIS_URL", "QUEUE_REDIS_URL"):
            password = unquote(urlsplit(getattr(self, name)).password or "")
            if password in PRINTED_SECRETS or PLACEHOLDER in password:
                yield f"{name} has a password that documents print. Give the service one of your own"
        if (mode := _mode_of(Path(".env"))) is not None and mode & 0o077:
            yield f".env can be read by others (mode {mode:04o}). Mend it with: chmod 600 .env"

    def _bad_settings(self) -> Iterator[str]:
        if self.is_sqlite:
            yield "SQLite is for development, and for one process. Set DATABASE_URL, or DB_HOST and its companions"
        if "*" in self.CORS_ORIGINS:
            yield "CORS_ORIGINS is *. Name the pages that may call us: CORS_ORIGINS=https://shop.example"
        if self.FLASK_DEBUG:
            yield "FLASK_DEBUG is on: errors would show code and variables. Unset it"


_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?",
    re.ASCII | re.IGNORECASE,
)
_OWN_PORT = {"http": "80", "https": "443"}


def is_origin(text: str) -> bool:
    """Return whether a browser could send this as Origin (RFC 6454): scheme, host and a port that is not the scheme's."""
    found = _ORIGIN.fullmatch(text)
    return found is not None and found["port"] != _OWN_PORT.get(found["scheme"].lower(), "")


def _in_url(host: str) -> str:
    """Return a host as a URL has it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


MAKE_ONE = "Make one with: openssl rand -hex 32"


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


def _fault_of(secret: str) -> str | None:
    if secret in PRINTED_SECRETS | {DEVELOPMENT_SECRET} or PLACEHOLDER in secret:
        return "is printed in documents"
    if len(secret.encode()) < MIN_SECRET_BYTES:
        return f"has fewer than {MIN_SECRET_BYTES} bytes"
    if len(set(secret)) < MIN_DIFFERENT_SIGNS:
        return "repeats itself: it can be guessed"
    return None


def _normalize_replica(text: str) -> str:
    """Return the replica's address in our form. Raises ValueError."""
    if not text:
        return ""
    try:
        url = normalize(text)
    except ValueError as error:
        raise ValueError(str(error).replace("DATABASE_URL", "DATABASE_REPLICA_URL")) from None
    if url.startswith("sqlite"):
        raise ValueError("DATABASE_REPLICA_URL is of SQLite, which has no replicas. Leave it out")
    return url


def _place_of(url: str, *, with_host: bool) -> str:
    """Return which database a URL leads to, however its user and its options are written."""
    parts = urlsplit(url)
    if parts.scheme.startswith("sqlite"):
        return f"sqlite {INSTANCE / unquote(parts.path).removeprefix('/')}"
    if parts.scheme == redis_address.SENTINEL:
        number, _, name = unquote(parts.path).strip("/").partition("/")
        return f"{parts.netloc.rpartition('@')[2]} {name} {number}" if with_host else number
    number = parse_qs(parts.query).get("db", [unquote(parts.path).strip("/") or "0"])[0]
    if not with_host:
        return number
    host = "localhost" if parts.hostname in LOOPBACK else parts.hostname
    return f"{host} {parts.port or DEFAULT_PORTS.get(parts.scheme, 3306)} {number}"


def _mode_of(path: Path) -> int | None:
    """Who may read a file; None where there is none."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        return None


ENVIRONMENTS: dict[str, type[Config]] = {
    "development": Development,
    "testing": Testing,
    "production": Production,
}


def environment_name() -> str:
    """Return what BITTRADE_ENV says; where it says nothing, production if NODE_ENV is, as the first server took it."""
    # Also from .env: a server that took "production" for a mere value would sign tokens with the development secret.
    dotenv = dotenv_values(".env")
    named = os.environ.get("BITTRADE_ENV") or dotenv.get("BITTRADE_ENV")
    by_node = os.environ.get("NODE_ENV") or dotenv.get("NODE_ENV")
    return named or ("production" if by_node == "production" else "development")


def load(**overrides: object) -> Config:
    """The configuration for `BITTRADE_ENV`; keyword arguments win. Exits with the reason where it is not fit."""
    name = str(overrides.get("BITTRADE_ENV") or environment_name())
    if name not in ENVIRONMENTS:
        raise ConfigurationError(f"BITTRADE_ENV is {name!r}; it must be one of {', '.join(ENVIRONMENTS)}")
    try:
        return ENVIRONMENTS[name](**{**overrides, "BITTRADE_ENV": name})  # type: ignore[arg-type]
    except ValidationError as error:
        reasons = "\n".join(
            f"  {_name_of(e['loc'])}{e['msg'].removeprefix('Value error, ')}"
            for e in error.errors(include_input=False)
        )
        raise ConfigurationError(f"BitTrade will not start ({name}):\n{reasons}") from None


def _name_of(location: tuple[int | str, ...]) -> str:
    return f"{'.'.join(map(str, location))}: " if location else ""
