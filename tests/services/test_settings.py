"""Settings that operators change while the servers run."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask

from bittrade.errors import InvalidInput, NotConfirmed
from bittrade.extensions import db
from bittrade.models import AuditEvent
from bittrade.services import settings
from tests.fixtures import Person, set_price, together
from tests.money.conftest import Trader

pytestmark = pytest.mark.usefixtures("inside")


def test_a_fresh_install_has_the_document_s_multipliers() -> None:
    assert (
        settings.list_settings() | {"buy_multiplier": "91", "sell_multiplier": "88"}
        == settings.list_settings()
    )


def test_a_change_is_kept_and_written_to_the_audit_log() -> None:
    assert settings.set_setting("buy_multiplier", "91.5")["buy_multiplier"] == "91.5"
    assert settings.list_settings()["buy_multiplier"] == "91.5"
    with db.engine.connect() as connection:
        event = connection.execute(sa.select(AuditEvent.__table__)).mappings().one()
    assert event["action"] == "setting_changed"
    assert '"before": "91"' in event["facts"]
    assert '"after": "91.5"' in event["facts"]


@pytest.mark.parametrize(("key", "value"), [("buy_multiplier", "87"), ("sell_multiplier", "91.0001")])
def test_the_buy_rate_can_never_be_put_below_the_sell_rate(key: str, value: str) -> None:
    with pytest.raises(InvalidInput):
        settings.set_setting(key, value)
    assert settings.list_settings()[key] == settings.DEFAULTS[key]


@pytest.mark.parametrize("value", ["", "0", "-1", "NaN", "1e3", " 91", "91.00001", "９１", "9" * 300])
def test_what_is_not_a_multiplier_changes_nothing(value: str) -> None:
    with pytest.raises(InvalidInput):
        settings.set_setting("buy_multiplier", value)
    assert settings.list_settings()["buy_multiplier"] == "91"


@pytest.mark.parametrize("key", ["", "nonsense", "BUY_MULTIPLIER", "buy_multiplier "])
def test_an_unknown_setting_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput, match="Unknown setting"):
        settings.set_setting(key, "91")


def test_two_changes_at_once_cannot_cross(on_both_databases: Flask) -> None:
    """One lowers the buy rate to 89, the other raises the sell rate to 90: at most one of them may be."""

    def change(number: int) -> bool:
        key, value = (("buy_multiplier", "89"), ("sell_multiplier", "90"))[number % 2]
        with on_both_databases.app_context():
            try:
                settings.set_setting(key, value)
            except InvalidInput:
                return False
            return True

    results = together(2, change)
    assert sorted(results) == [False, True]


# --- slips of the hand ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "market_rate", "is_doubtful"),
    [
        ("95.55", None, False),
        ("95.56", None, True),  # more than 5 % at once
        ("9100", None, True),
        ("92", 890_000, False),
        ("92", 800_000, False),  # exactly 15 % from the market's 80 rupees
        ("92.01", 800_000, True),
        ("92", 1_090_000, True),
    ],
)
def test_a_large_step_or_one_far_from_the_market_has_to_be_confirmed(
    value: str, market_rate: int | None, is_doubtful: bool
) -> None:
    if is_doubtful:
        with pytest.raises(NotConfirmed, match="the buy multiplier would"):
            settings.set_setting("buy_multiplier", value, market_rate=market_rate)
        assert settings.list_settings()["buy_multiplier"] == "91"
    settings.set_setting("buy_multiplier", value, is_confirmed=is_doubtful, market_rate=market_rate)
    assert settings.list_settings()["buy_multiplier"] == value


def test_new_multipliers_void_open_quotes(inside: Flask, make_user: Callable[..., Person]) -> None:
    set_price(inside)
    trader = Trader(make_user(inr=1000), inside.test_client())
    before = trader.post("/api/quote").get_json()["quote_id"]
    settings.set_setting("buy_multiplier", "92")
    answer = trader.trade("buy", "100", quote_id=before)
    assert (answer.status_code, answer.get_json()["code"]) == (409, "quote_expired")
    after = trader.post("/api/quote").get_json()["quote_id"]
    assert trader.trade("buy", "100", quote_id=after).get_json()["execution_price"] == 45_000 * 92
