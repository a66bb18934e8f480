"""What has to run inside the application: makes the drills' users, then records a fresh price again and again.

Reads a JSON list of {email, inr, satoshis} from one line of standard input, answers with one line, the list of the
users' ids, and ends when its input is closed. Started by `surroundings`, not by hand.
"""

import json
import random
import select
import sys

from bittrade import create_app, wire
from bittrade.domain.pricing import PriceQuote
from bittrade.errors import BitTradeError
from bittrade.services import auth, funds, market
from bittrade.services.funds import Funds

PASSWORD = "a drill needs no secret, only length"  # noqa: S105 - the database lives for minutes
FIRST_PRICE_CENTS = 95_000_00
INTERVAL_S = 0.5


def make_people(wanted: list[dict[str, object]]) -> list[int]:
    """Open and fund the accounts; their ids in the same order."""
    ids = []
    for person in wanted:
        user = auth.create_user(email=str(person["email"]), password=PASSWORD, name="Drill")
        money = Funds(int(str(person["inr"])), int(str(person["satoshis"])))
        if money.inr or money.satoshis:
            funds.deposit(user["id"], money)
        ids.append(user["id"])
    return ids


def keep_price_fresh(seed: int, step_cents: int) -> None:
    """Record a random walk until standard input ends. A database that is away is waited for."""
    walk, cents = random.Random(seed), FIRST_PRICE_CENTS  # noqa: S311 - replayable, no secret
    while True:
        try:
            market.record_price(PriceQuote(btc_usd_cents=cents, as_of=wire.now(), source="drill"))
        except BitTradeError as error:
            print(f"price not recorded: {error.message}", file=sys.stderr, flush=True)
        cents = max(1_000_00, cents + walk.randint(-step_cents, step_cents))
        readable, _, _ = select.select([sys.stdin], [], [], INTERVAL_S)
        if readable:
            return


def main() -> None:
    seed, step_cents = map(int, sys.argv[1:3])
    wanted = json.loads(sys.stdin.readline())
    app = create_app()
    with app.app_context():
        ids = make_people(wanted)
        market.record_price(PriceQuote(btc_usd_cents=FIRST_PRICE_CENTS, as_of=wire.now(), source="drill"))
        print(json.dumps(ids), flush=True)
        keep_price_fresh(seed, step_cents)


if __name__ == "__main__":
    main()
