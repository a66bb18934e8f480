"""What a holding cost and gained: first in, first out.

The state is folded from the user's movements in their order, so that it can be kept and carried on. Bitcoin that was
deposited has no known cost: it is held and sold like the rest, but its proceeds are counted apart, not as a gain.
A reversal counts as a trade the other way at the same figures.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from bittrade.domain.money import SATOSHIS_PER_BTC, divide_down, divide_half_up


@dataclass(slots=True)
class Lot:
    """Satoshis that came together. `cost_inr` is None where they were deposited."""

    satoshis: int
    cost_inr: int | None


@dataclass(slots=True)
class Portfolio:
    """The lots still held, oldest first, and what was gained by selling the others."""

    lots: deque[Lot] = field(default_factory=deque)
    realised_gain_inr: int = 0
    proceeds_without_cost_inr: int = 0

    def apply(self, *, inr: int, satoshis: int) -> None:
        """Take in one movement: the changes of the user's rupees and satoshis.

        Only where they go opposite ways was one paid with the other; a deposit or withdrawal may move both.
        """
        if satoshis > 0:
            self.lots.append(Lot(satoshis, -inr if inr < 0 else None))
        elif satoshis < 0:
            self._take(-satoshis, max(inr, 0))

    def _take(self, satoshis: int, proceeds_inr: int) -> None:
        """Remove the oldest satoshis; without proceeds (a withdrawal) nothing is gained."""
        rest, proceeds_rest = satoshis, proceeds_inr
        while rest > 0 and self.lots:
            lot = self.lots[0]
            taken = min(rest, lot.satoshis)
            # The last part takes what is left, so that rounding loses no rupee.
            share = proceeds_rest if taken == rest else divide_down(proceeds_inr * taken, satoshis)
            self._realise(lot, taken, share if proceeds_inr else None)
            rest, proceeds_rest = rest - taken, proceeds_rest - share
            if lot.satoshis == 0:
                self.lots.popleft()

    def _realise(self, lot: Lot, taken: int, proceeds: int | None) -> None:
        cost = None if lot.cost_inr is None else divide_half_up(lot.cost_inr * taken, lot.satoshis)
        lot.satoshis -= taken
        if cost is not None and lot.cost_inr is not None:
            lot.cost_inr -= cost
        if proceeds is None:
            return
        if cost is None:
            self.proceeds_without_cost_inr += proceeds
        else:
            self.realised_gain_inr += proceeds - cost

    @property
    def satoshis(self) -> int:
        return sum(lot.satoshis for lot in self.lots)

    @property
    def satoshis_with_cost(self) -> int:
        return sum(lot.satoshis for lot in self.lots if lot.cost_inr is not None)

    @property
    def cost_inr(self) -> int:
        return sum(lot.cost_inr or 0 for lot in self.lots)

    @property
    def average_cost_inr(self) -> int | None:
        """Rupees for one bitcoin, over the satoshis whose cost is known."""
        known = self.satoshis_with_cost
        return divide_half_up(self.cost_inr * SATOSHIS_PER_BTC, known) if known else None

    def unrealised_gain_inr(self, sell_rate_inr: int) -> int:
        """What selling the satoshis of known cost now would gain."""
        return divide_down(self.satoshis_with_cost * sell_rate_inr, SATOSHIS_PER_BTC) - self.cost_inr

    def to_json(self) -> dict[str, Any]:
        return {
            "lots": [[lot.satoshis, lot.cost_inr] for lot in self.lots],
            "realised_gain_inr": self.realised_gain_inr,
            "proceeds_without_cost_inr": self.proceeds_without_cost_inr,
        }

    @classmethod
    def from_json(cls, held: dict[str, Any]) -> "Portfolio":
        lots = deque(Lot(satoshis, cost) for satoshis, cost in held["lots"])
        return cls(lots, held["realised_gain_inr"], held["proceeds_without_cost_inr"])
