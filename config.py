"""Reads the environment, once: `load()` gives the configuration that `BITTRADE_ENV` names.

Every variable is a field below; `.env.example` lists them all, and a test holds the two together. Flask sees the same
upper-case names in `app.config`.
"""

import os
from typing import Annotated, Literal, Self
from urllib.parse import quote

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

# Printed in documents, so known to everybody: never good enough for production.
PRINTED_SECRETS = {
    "bittrade_secret_key_2024",
    "your_super_secure_jwt_secret_key_here",
    "super_secure_production_jwt_secret_256_bit",
}
PLACEHOLDER = "change-me"
DEVELOPMENT_SECRET = "development-only-secret-not-for-production"  # noqa: S105 - refused in production
MIN_SECRET_BYTES = 32


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
    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    DATABASE_URL: str = ""
    DB_HOST: str = ""
    DB_PORT: int = Field(3306, ge=1, le=65535)
    DB_NAME: str = "bittrade"
    DB_USER: str = "root"
    DB_PASSWORD: str = ""
    DB_POOL_SIZE: int = Field(16, ge=1, le=200)

    REDIS_URL: str = ""
    REDIS_HOST: str = "localhost"
    REDIS_PORT: int = Field(6379, ge=1, le=65535)
    REDIS_PASSWORD: str = ""
    REDIS_DB: int = Field(0, ge=0)
    QUEUE_REDIS_URL: str = ""

    JWT_SECRET: str = ""
    JWT_LIFETIME_S: int = Field(24 * 3600, ge=60)
    BCRYPT_COST: int = Field(12, ge=4, le=16)
    LOGIN_FAILURES_BEFORE_LOCK: int = Field(10, ge=1)

    COINGECKO_API_URL: str = "https://api.coingecko.com/api/v3"
    COINGECKO_API_KEY: str = ""
    FEAR_GREED_API_URL: str = "https://api.alternative.me/fng"
    PRICE_INTERVAL_S: int = Field(30, ge=1, le=3600)
    MAX_PRICE_AGE_S: int = Field(90, ge=1, le=86400)

    MIN_ORDER_INR: int = Field(1, ge=1)
    MAX_ORDER_INR: int = Field(100_000_000, ge=1, le=10**15)
    QUOTE_LIFETIME_S: int = Field(15, ge=1, le=300)

    CORS_ORIGINS: Annotated[list[str], NoDecode] = ["*"]
    SOCKET_TRANSPORTS: Annotated[list[str], NoDecode] = []
    TRUSTED_PROXY_HOPS: int = Field(0, ge=0, le=10)

    @field_validator("CORS_ORIGINS", "SOCKET_TRANSPORTS", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )

    @model_validator(mode="after")
    def _derive(self) -> Self:
        """Fill in what follows from the rest: the two URLs, the queue's Redis, the transports."""
        self.DATABASE_URL = self.DATABASE_URL or self._database_url()
        self.REDIS_URL = self.REDIS_URL or self._redis_url()
        self.QUEUE_REDIS_URL = self.QUEUE_REDIS_URL or self.REDIS_URL
        # Long polling needs every request of a client in the same process (docs/deployment.md).
        both = ["polling", "websocket"]
        self.SOCKET_TRANSPORTS = self.SOCKET_TRANSPORTS or (
            ["websocket"] if self.WEB_CONCURRENCY > 1 else both
        )
        if not set(self.SOCKET_TRANSPORTS) <= set(both):
            raise ValueError("SOCKET_TRANSPORTS takes 'polling' and 'websocket'")
        return self

    def _database_url(self) -> str:
        if not self.DB_HOST:
            return "sqlite:///bittrade.db"  # Flask-SQLAlchemy puts it under instance/
        login = quote(self.DB_USER, safe="") + (
            f":{quote(self.DB_PASSWORD, safe='')}" if self.DB_PASSWORD else ""
        )
        return f"mysql+pymysql://{login}@{self.DB_HOST}:{self.DB_PORT}/{self.DB_NAME}?charset=utf8mb4"

    def _redis_url(self) -> str:
        login = f":{quote(self.REDIS_PASSWORD, safe='')}@" if self.REDIS_PASSWORD else ""
        return f"redis://{login}{self.REDIS_HOST}:{self.REDIS_PORT}/{self.REDIS_DB}"

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


class Production(Config):
    """Refuses to start with what only a developer may have."""

    @model_validator(mode="after")
    def _refuse_weak(self) -> Self:
        if not self.JWT_SECRET:
            raise ValueError("JWT_SECRET is not set. Make one with: openssl rand -hex 32")
        if self.JWT_SECRET in PRINTED_SECRETS | {DEVELOPMENT_SECRET} or PLACEHOLDER in self.JWT_SECRET:
            raise ValueError("JWT_SECRET is printed in documents. Make one with: openssl rand -hex 32")
        if len(self.JWT_SECRET.encode()) < MIN_SECRET_BYTES:
            raise ValueError(
                f"JWT_SECRET has fewer than {MIN_SECRET_BYTES} bytes. Make one with: openssl rand -hex 32"
            )
        if self.is_sqlite:
            raise ValueError("SQLite is for development. Set DATABASE_URL, or DB_HOST and its companions")
        return self


ENVIRONMENTS: dict[str, type[Config]] = {
    "development": Development,
    "testing": Testing,
    "production": Production,
}


def load(**overrides: object) -> Config:
    """The configuration for `BITTRADE_ENV`; keyword arguments win. Exits with the reason where it is not fit."""
    name = str(overrides.get("BITTRADE_ENV") or os.environ.get("BITTRADE_ENV") or "development")
    if name not in ENVIRONMENTS:
        raise ConfigurationError(f"BITTRADE_ENV is {name!r}; it must be one of {', '.join(ENVIRONMENTS)}")
    try:
        return ENVIRONMENTS[name](**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        reasons = "\n".join(f"  {_name_of(e['loc'])}{e['msg']}" for e in error.errors(include_input=False))
        raise ConfigurationError(f"BitTrade will not start ({name}):\n{reasons}") from None


def _name_of(location: tuple[int | str, ...]) -> str:
    return f"{'.'.join(map(str, location))}: " if location else ""
