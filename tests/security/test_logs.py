"""What goes to a log: one line an event, and no secret in it, whoever wrote it there."""

import io
import logging
import secrets
from collections.abc import Iterator

import jwt
import pytest
import sqlalchemy as sa
from flask import Flask

from bittrade import logs
from bittrade.extensions import db
from bittrade.logs import REDACTED, warn_seldom
from bittrade.models import User

TOKEN = jwt.encode({"id": 1, "exp": 9_999_999_999}, secrets.token_hex(32))
KEY = "bt_" + secrets.token_urlsafe(32)
PASSWORD = secrets.token_hex(8)


@pytest.fixture(params=["text", "json"])
def written(request: pytest.FixtureRequest) -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger with our formatter, and what it wrote."""
    logger, stream = logging.getLogger(f"bittrade.{secrets.token_hex(4)}"), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.formatter(request.param))
    logger.addHandler(handler)
    logger.propagate = False
    yield logger, stream
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"GET /?token={TOKEN}&x=1", TOKEN),
        (f"key {KEY} is bad", KEY),
        ("Authorization: Bearer any-thing.at~all", "any-thing.at~all"),
        (f"cannot reach redis://:{PASSWORD}@redis.example:6379/0", PASSWORD),
        (f"mysql+pymysql://app:{PASSWORD}@db/x refused", PASSWORD),
        (f"'{TOKEN}'", TOKEN.split(".")[2]),
    ],
    ids=[
        "query",
        "key",
        "header",
        "redis URL",
        "database URL",
        "quoted",
    ],  # the secrets differ in every process
)
def test_a_secret_in_a_log_line_or_traceback_is_taken_out(
    written: tuple[logging.Logger, io.StringIO], text: str, secret: str
) -> None:
    logger, stream = written
    logger.error("it said %s", text)
    try:
        raise ValueError(text)
    except ValueError:
        logger.exception("it failed", extra={"fact": text})
    assert secret not in stream.getvalue()
    assert stream.getvalue().count(REDACTED) >= 2
    assert "Traceback" in stream.getvalue()


def test_what_is_no_secret_stays(written: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = written
    logger.error("user 7 traded 1000 at https://api.example/x?y=1, bt_short, eyJ")
    assert REDACTED not in stream.getvalue()


def test_a_line_break_in_an_input_makes_no_second_line(written: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = written
    logger.error("name %s", "x\r\nCRITICAL forged\ny")
    assert len(stream.getvalue().splitlines()) == 1


def test_an_error_of_the_database_holds_no_value(app: Flask) -> None:
    row = {"email": "canary@example.com", "email_normalized": "canary@example.com", "name": "x"}
    insert = sa.insert(User.__table__).values(**row, password_hash="canary-hash", created_at=sa.func.now())
    with app.app_context(), db.engine.connect() as connection:
        connection.execute(insert)
        with pytest.raises(sa.exc.IntegrityError) as refused:
            connection.execute(insert)
        connection.rollback()
    assert "canary-hash" not in str(refused.value)


def test_what_fails_at_every_request_is_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logging.getLogger("bittrade.x")
    for number in range(5):
        warn_seldom(log, "gone: %s", number)
    warn_seldom(log, "another: %s", 1)
    assert [record.getMessage() for record in caplog.records] == ["gone: 0", "another: 1"]
    monkeypatch.setattr("bittrade.logs.SELDOM_S", -1.0)  # the minute is over
    logs._silent_until.clear()
    warn_seldom(log, "gone: %s", 5)
    assert caplog.records[-1].getMessage() == "gone: 5 (4 more since the last such line)"
