"""Amounts: rupees and bitcoin as the API takes them. Whole numbers and decimals; a float is refused before it is sent."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

SATOSHIS_PER_BTC = 100_000_000
Number = int | Decimal


@dataclass(frozen=True, slots=True)
class Amount:
    """So many of the smallest units: whole rupees or satoshis."""

    currency: Literal["inr", "btc"]
    units: int

    @property
    def text(self) -> str:
        """Return it as the API's trades take it: rupees, or bitcoin with its places."""
        return str(self.units) if self.currency == "inr" else to_btc(self.units)


def to_btc(satoshis: int) -> str:
    """Return satoshis as bitcoin with all 8 places."""
    sign, rest = ("-", -satoshis) if satoshis < 0 else ("", satoshis)
    whole, places = divmod(rest, SATOSHIS_PER_BTC)
    return f"{sign}{whole}.{places:08d}"


def read_amount(
    *, inr: Number | None = None, btc: Number | None = None, satoshis: Number | None = None
) -> Amount:
    """Return the one amount that is given.

    Raises TypeError for a float (it is hardly ever the number that was meant), and ValueError for none or several, for
    what is not above zero, and for parts of a rupee or of a satoshi.
    """
    given = {
        name: value
        for name, value in (("inr", inr), ("btc", btc), ("satoshis", satoshis))
        if value is not None
    }
    if len(given) != 1:
        raise ValueError(f"Give one of inr, btc and satoshis, not {len(given)}")
    ((name, value),) = given.items()
    exact = read_number(value, name)
    if name == "inr":
        return Amount("inr", _whole(exact, name))
    return Amount("btc", _whole(exact * SATOSHIS_PER_BTC if name == "btc" else exact, name))


def read_number(value: object, name: str) -> Decimal:
    """Return an int or Decimal as a Decimal. Raises TypeError for anything else, above all for a float."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        hint = f": write Decimal({str(value)!r})" if isinstance(value, float) else ""
        raise TypeError(f"{name} must be an int or a Decimal, not {type(value).__name__}{hint}")
    exact = Decimal(value)
    if not exact.is_finite():
        raise ValueError(f"{name} must be a number")
    return exact


def read_units(value: object, name: str) -> int:
    """Return a whole number above zero: rupees for one bitcoin, satoshis, rupees."""
    return _whole(read_number(value, name), name)


def _whole(exact: Decimal, name: str) -> int:
    if exact <= 0:
        raise ValueError(f"{name} must be above zero")
    units = int(exact)
    if units != exact:
        unit = "rupee" if name == "inr" else "satoshi"
        raise ValueError(
            f"{name} has parts of a {unit}" if name in ("inr", "btc", "satoshis") else f"{name} must be whole"
        )
    return units
