"""docs/scaling.md: its table is the model's."""

from bench import scaling
from tests.fixtures import ROOT


def test_the_table_is_the_model_s() -> None:
    assert scaling.table() in (ROOT / "docs" / "scaling.md").read_text()


def test_ten_times_the_users_need_ten_times_as_much() -> None:
    few, many = scaling.work_out(10**7), scaling.work_out(10**8)
    assert round(many.trades_per_s / few.trades_per_s) == 10
    assert round(many.growth_gb_a_year / few.growth_gb_a_year) == 10
