"""The operator's command for multipliers, which asks what the market gives for a dollar."""

import pytest
from flask import Flask

from bittrade.services import settings
from dev.simulator import Simulator

pytestmark = pytest.mark.usefixtures("inside")


def test_the_command_compares_with_the_market_s_rate_and_takes_yes(inside: Flask) -> None:
    run = inside.test_cli_runner().invoke
    assert run(args=["settings", "set", "sell_multiplier", "89"]).exit_code == 0
    settings.set_setting("sell_multiplier", "76", is_confirmed=True)
    refused = run(args=["settings", "set", "sell_multiplier", "75"])
    assert refused.exit_code == 1
    assert "more than 15 % from the market's rate of 89.50" in refused.output
    assert "--yes" in refused.output
    assert settings.list_settings()["sell_multiplier"] == "76"
    assert run(args=["settings", "set", "sell_multiplier", "75", "--yes"]).exit_code == 0


def test_where_no_source_says_what_a_dollar_costs_the_step_alone_is_judged(
    inside: Flask, simulator: Simulator
) -> None:
    simulator.set("missing_coin", path="rupees")
    run = inside.test_cli_runner().invoke
    settings.set_setting("sell_multiplier", "76", is_confirmed=True)
    assert run(args=["settings", "set", "sell_multiplier", "75"]).exit_code == 0
