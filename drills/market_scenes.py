"""M1: prices that jump, lie, drift and come from clocks that are ahead, and traders who know it and try to profit.

Every scene moves the true price, or makes sources lie about it, between two polls of the real worker; the traders
(`market_traders`) never stop. At the end the judge (`market_judge`) looks at every trade there was.
"""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal

from bittrade import create_app
from bittrade.errors import BitTradeError
from bittrade.extensions import db
from bittrade.services import auth, funds, halt
from bittrade.services.funds import Funds
from config import load
from dev.simulator import INR_PER_USD
from drills.market_judge import (
    Account,
    Case,
    Change,
    judge,
    read_balances,
    read_doubts,
    read_fills,
    read_prices,
)
from drills.market_traders import STARTS_WITH, STRATEGIES, Trader, keep_trading
from drills.market_world import World
from drills.surroundings import wait_for

PRICE_FEEDS = ("price", "coinbase", "kraken")
FIRST, OTHERS = PRICE_FEEDS[0], PRICE_FEEDS[1:]
BEGINS_AT = 95_000
IN_TIME_S = 60.0
# All sources are compared every few seconds instead of every five minutes, and asked as often as the drill polls.
SETTINGS = {"PRICE_CHECK_EVERY_S": "4"} | {
    f"{name}_CALLS_PER_MINUTE": "10000" for name in ("COINGECKO", "COINBASE", "KRAKEN")
}


class Stage:
    """The true price and what the sources make of it; remembers each change for the judge."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.random = world, random.Random(seed)  # noqa: S311 - which prices, no secret
        self.changes: list[Change] = []
        self.move(BEGINS_AT)

    @property
    def usd(self) -> Decimal:
        return self.changes[-1].usd

    def worth(self) -> Decimal:
        """Return what a bitcoin is really worth, in rupees."""
        return self.usd * Decimal(str(INR_PER_USD))

    def move(self, usd: float, *, is_sharp: bool = False) -> None:
        """Change the true price. `is_sharp`: the first source that is asked tells it, and it is a large move."""
        began = datetime.now(UTC)
        self.world.simulator.set(price=usd)
        self.changes.append(Change(Decimal(str(usd)), began, datetime.now(UTC), is_sharp))

    def step(self, factor: float, *, is_sharp: bool = False) -> None:
        self.move(round(float(self.usd) * factor, 2), is_sharp=is_sharp)

    def lie(self, factor: float, *feeds: str) -> None:
        for feed in feeds:
            self.world.simulator.set("factor", factor=factor, path=feed)

    def behave(self, mode: str, *feeds: str, seconds: float = 1.0) -> None:
        for feed in feeds:
            self.world.simulator.set(mode, path=feed, seconds=seconds)

    def polls(self, count: int) -> None:
        """Wait until so many rounds of asking have ended in something."""
        for _ in range(count):
            before = self._ended()
            wait_for(lambda before=before: self._ended() != before, timeout_s=IN_TIME_S, what="a poll")  # type: ignore[misc]

    def _ended(self) -> tuple[int, int]:
        row = self.world.query(
            "SELECT (SELECT MAX(id) FROM bitcoin_data), (SELECT COUNT(*) + COUNT(resolved_at) FROM bitcoin_price_events)"
        )[0]
        return row[0], row[1]

    def wait_for_trading(self, state: str) -> None:
        def is_so() -> bool:
            return self.world.request("GET", "/api/market/status").body.get("trading") == state

        wait_for(is_so, timeout_s=IN_TIME_S, what=f"trading to be {state}")

    def end_lies(self) -> None:
        """All sources are honest, nothing is remembered against them, and an operator lets trading go on."""
        self.behave("normal", *PRICE_FEEDS)
        self.world.change("UPDATE upstreams SET failures=0, open_until=NULL, paused_until=NULL")
        with suppress(BitTradeError):
            halt.resume_trading("the drill's lie has ended")
        self.wait_for_trading("open")
        self.polls(1)


# --- scenes ---------------------------------------------------------------------------------------------------------


def calm(stage: Stage) -> None:
    """The price walks."""
    for _ in range(4):
        stage.step(1 + stage.random.uniform(-0.003, 0.003))
        stage.polls(1)


def refuted_jump(stage: Stage) -> None:
    """One source says 30 % more or less; the others don't."""
    stage.lie(stage.random.choice((1.3, 0.7)), FIRST)
    stage.polls(3)


def held_jump(stage: Stage) -> None:
    """The price does jump, and only one source is there to say so; then a second comes back."""
    stage.behave("html", *OTHERS)
    stage.polls(1)
    stage.step(stage.random.choice((1.29, 0.75)), is_sharp=True)
    stage.wait_for_trading("price_uncertain")
    stage.polls(2)
    stage.behave("normal", *OTHERS)
    stage.wait_for_trading("open")


def slow_others(stage: Stage) -> None:
    """The price moves by less than a jump, and those who could confirm it take their time."""
    stage.behave("slow", *OTHERS, seconds=4.0)
    stage.polls(1)
    stage.step(stage.random.choice((1.12, 0.88)), is_sharp=True)
    stage.polls(3)


def agreed_move(stage: Stage) -> None:
    """The price moves within one poll, and all sources say so."""
    stage.step(stage.random.choice((1.08, 0.92)), is_sharp=True)
    stage.polls(3)


def clocks_ahead(stage: Stage) -> None:
    """The first source's clock is an hour ahead, and the price falls."""
    stage.behave("ahead", FIRST, seconds=3600)
    stage.polls(1)
    stage.step(0.95)
    stage.polls(2)
    stage.behave("normal", FIRST)
    stage.behave("ahead", *OTHERS, seconds=600)
    stage.polls(2)
    stage.step(0.97)
    stage.polls(2)


def drifting_liar(stage: Stage) -> None:
    """One source lies a little more at each poll."""
    step = stage.random.choice((1.004, 0.996, 1.009, 0.991))
    for number in range(1, 7):
        stage.lie(step**number, FIRST)
        stage.polls(1)


def liar_within_the_band(stage: Stage) -> None:
    """One source lies by as much as nobody asks the others for, up and down."""
    for number in range(6):
        stage.lie(1.0049 if number % 2 else 0.9951, FIRST)
        stage.polls(1)


def two_against_one(stage: Stage) -> None:
    """Two sources tell the same lie; one stands by the price in use."""
    stage.lie(stage.random.choice((1.06, 0.94)), *OTHERS)
    stage.wait_for_trading("halted")
    stage.polls(1)


def one_against_two(stage: Stage) -> None:
    """The first source and another tell the same lie."""
    stage.lie(stage.random.choice((1.05, 0.95)), FIRST, OTHERS[0])
    stage.wait_for_trading("halted")
    stage.polls(1)


SCENES: tuple[Callable[[Stage], None], ...] = (
    calm,
    refuted_jump,
    held_jump,
    slow_others,
    agreed_move,
    clocks_ahead,
    drifting_liar,
    liar_within_the_band,
    two_against_one,
    one_against_two,
)


# --- all of it ------------------------------------------------------------------------------------------------------


def play(world: World, *, times: int, seed: int = 1) -> tuple[Case, list[Trader]]:
    """Play every scene so many times, with the traders trading; what the judge needs to know."""
    names = ("JWT_SECRET", "BITTRADE_ENV", "DATABASE_URL", "REDIS_URL", *SETTINGS, *world.simulator.settings)
    app = create_app(load(**{name: world.environment[name] for name in names}))
    with app.app_context():
        stage = Stage(world, seed)
        stage.polls(2)
        ids = {name: _open_account(name) for name in STRATEGIES}
        before = read_balances(world.query)
        traders = [Trader(name, user_id, world, stage.worth) for name, user_id in ids.items()]
        with trading(traders):
            for scene in SCENES * times:
                scene(stage)
                stage.end_lies()
        db.engine.dispose()
    after = read_balances(world.query)
    recent = world.simulator.server.state.show()["recent"]
    case = Case(
        inr_per_usd=Decimal(str(INR_PER_USD)),
        changes=stage.changes,
        asked=sorted(
            datetime.fromtimestamp(call["at"], UTC) for call in recent if call["path"] in PRICE_FEEDS
        ),
        prices=read_prices(world.query),
        doubts=read_doubts(world.query),
        fills=[fill for fill in read_fills(world.query) if fill.user_id in ids.values()],
        accounts={user_id: Account(before[user_id], after[user_id]) for user_id in ids.values()},
    )
    return case, traders


def _open_account(name: str) -> int:
    password = f"{random.SystemRandom().getrandbits(128):x}"
    user_id: int = auth.create_user(email=f"{name}@drill.test", password=password, name=name)["id"]
    funds.deposit(user_id, Funds(*STARTS_WITH))
    return user_id


@contextmanager
def trading(traders: list[Trader]) -> Iterator[None]:
    is_over = threading.Event()
    threads = [keep_trading(trader, is_over) for trader in traders]
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join(30)


def describe(case: Case, traders: list[Trader]) -> dict[str, object]:
    """Return what happened, in figures: trades and rupees by strategy."""
    gains, unknowable = case.gains(unknowable=False), case.gains(unknowable=True)
    facts: dict[str, object] = {
        "trades": len(case.fills),
        "changes": len(case.changes) - 1,
        "doubts": len(case.doubts),
        "refused_in_doubt": sum(trader.answers["price_uncertain"] for trader in traders),
        "void_quotes": sum(trader.answers["quote_expired"] for trader in traders),
    }
    for trader in traders:
        facts[trader.name] = f"{gains.get(trader.user_id, Decimal(0)):+.0f}"
    facts["before_any_answer"] = f"{sum(unknowable.values(), Decimal(0)):+.0f}"
    return facts


def find_faults(case: Case, traders: list[Trader]) -> list[str]:
    """Return what the judge says, and where the traders were no trial: nothing traded, nothing refused."""
    idle = [f"{trader.name} never tried" for trader in traders if not trader.answers]
    if not any(trader.answers["price_uncertain"] for trader in traders):
        idle.append("nobody met a price in doubt")
    return [*judge(case), *idle]
