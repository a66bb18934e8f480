"""What of drill O2 has to run inside the application: makes the plans, or makes their due runs by a clock of the drill's.

    python -m drills.plan_runner make CLOCK           plans as JSON on standard input
    python -m drills.plan_runner run CLOCK BEHIND_S   until it is killed

CLOCK is a file with the simulated time, which `plans` moves on.
"""

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bittrade import create_app, wire
from bittrade.domain.money import Asset
from bittrade.domain.plans import Frequency, Instalment
from bittrade.domain.pricing import PriceQuote
from bittrade.domain.trading import Action
from bittrade.errors import BitTradeError
from bittrade.services import auth, funds, market, plans
from bittrade.services.funds import Funds
from bittrade.services.plans import PlanRequest
from drills.people_and_prices import FIRST_PRICE_CENTS, PASSWORD

PRICE_EVERY_S = 0.2
READY = "this runner begins"  # only who has begun is worth a kill


def simulated_clock(file: Path, *, behind_s: float = 0.0) -> Callable[[], datetime]:
    """Return what to ask instead of the machine's clock: Unix seconds in a file. A clock may be behind the others'."""

    def now() -> datetime:
        return datetime.fromtimestamp(float(file.read_text()) - behind_s, UTC)

    return now


def make(wanted: list[dict[str, Any]]) -> None:
    """One user with one plan each."""
    for number, plan in enumerate(wanted):
        user = auth.create_user(email=f"plan-{number}@drill.test", password=PASSWORD, name="Drill")
        funds.deposit(user["id"], Funds(50_000_000, 50_00000000))
        request = PlanRequest(
            Instalment(Action(plan["action"]), Asset(plan["asset"]), plan["amount"], plan["max_price"]),
            Frequency(plan["frequency"]),
            plan["time_zone"],
            datetime.fromtimestamp(plan["start_at"], UTC),
            plan["remaining_executions"],
        )
        plans.create_plan(user["id"], request)


def run() -> None:
    """Make what is due, for ever; a database that is away is waited for."""
    recorded = 0.0
    print(READY, flush=True)
    while True:
        try:
            if time.monotonic() - recorded > PRICE_EVERY_S:
                quote = PriceQuote(btc_usd_cents=FIRST_PRICE_CENTS, as_of=wire.now(), source="drill")
                market.record_price(quote)
                recorded = time.monotonic()
            plans.run_due()
        except BitTradeError as error:
            print(error.message, file=sys.stderr, flush=True)
        time.sleep(0.05)


def main() -> None:
    what, clock = sys.argv[1], Path(sys.argv[2])
    wire.now = simulated_clock(clock, behind_s=float(sys.argv[3]) if what == "run" else 0.0)
    app = create_app()
    with app.app_context():
        if what == "make":
            make(json.load(sys.stdin))
        else:
            run()


if __name__ == "__main__":
    main()
