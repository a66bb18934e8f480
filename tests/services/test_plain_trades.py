"""Trades judged as text, beside the rules: they accept what is posted, and nothing that the rules refuse."""

from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bittrade.domain import chain, plain_trades, proof
from bittrade.domain.money import Asset
from bittrade.domain.plain_trades import PlainTrade
from bittrade.domain.pricing import Multipliers
from bittrade.domain.proof import Row
from bittrade.domain.receipt import PriceBasis, Receipt
from bittrade.domain.trading import Action, Fill, Order, fill
from bittrade.errors import InvalidAmount
from bittrade.services.ledger.posting import Posting, prepare
from bittrade.services.ledger.reading import Texts, parse, parse_rows

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
PLENTY = {"seq": 6, "available_inr": 10**17, "available_btc": 10**17}
BASIS = PriceBasis(7, "coingecko", 4_500_000, NOW, Multipliers(buy=910_000, sell=880_000))
bases = st.builds(
    PriceBasis,
    st.integers(1, 10**9),
    st.sampled_from(["coingecko", "kraken", "simulator"]),
    st.integers(10_000, 10**9),
    st.just(NOW),
    st.integers(10_000, 10**6).map(lambda sell: Multipliers(buy=sell + 30_000, sell=sell)),
)
orders = st.builds(Order, st.sampled_from(Action), st.sampled_from(Asset), st.integers(1, 10**12))


@dataclass(frozen=True)
class Written:
    """A trade as it is read from the database."""

    text: str
    legs: list[str]
    digest: str
    figures: Fill

    def read(self) -> PlainTrade | None:
        return plain_trades.read(self.text, self.legs)


def write(
    order: Order, basis: PriceBasis = BASIS, *, is_plan: bool = False, client_order_id: str | None = None
) -> Written:
    figures = fill(order, basis.rates)
    receipt = Receipt(basis, order, 1234).to_json()
    posting = Posting(
        type=figures.kind.replace("MARKET", "DCA") if is_plan else figures.kind,
        execution_price=figures.price_inr,
        receipt=orjson.dumps(receipt).decode(),
        client_order_id=client_order_id,
    )
    made = prepare(5, held=PLENTY, entry=figures.entry(5), posting=posting, now=NOW)
    columns = {"id": 9, **made.row}
    values = [chain.text_of(columns[name]) for name in chain.COLUMNS]
    required = len(chain.REQUIRED)
    filled = [
        f"{name}={value}" for name, value in zip(chain.OPTIONAL, values[required:], strict=True) if value
    ]
    text = chain.SEPARATOR.join([str(len(filled)), *values[:required], *filled])
    return Written(text, [*map(chain.text_of_leg, made.entry.legs)], made.digest(9), figures)


SAMPLE = write(Order(Action.BUY, Asset.INR, 1000))
SOLD = write(Order(Action.SELL, Asset.BTC, 10**6), client_order_id="mine")


def by_the_rules(text: str, legs: list[str]) -> Row | None:
    """The row, where the rules find nothing wrong with it."""
    (row,) = parse_rows(Texts([text], {text.split(chain.SEPARATOR)[1]: legs}))
    return row if isinstance(row, Row) and not proof.faults_of(row) else None


@given(orders, bases, st.booleans(), st.one_of(st.none(), st.text("abcXYZ019-_.=", min_size=1, max_size=64)))
def test_a_trade_that_was_posted_is_a_plain_one(
    order: Order, basis: PriceBasis, is_plan: bool, client_order_id: str | None
) -> None:
    try:
        written = write(order, basis, is_plan=is_plan, client_order_id=client_order_id)
    except InvalidAmount:
        assume(False)
        raise
    trade = written.read()
    assert trade is not None
    sign = 1 if order.action is Action.BUY else -1
    assert (trade.id, trade.user_id, trade.seq, trade.digest) == (9, 5, 7, written.digest)
    assert (trade.inr, trade.btc) == (-sign * written.figures.inr, sign * written.figures.satoshis)
    price = (basis.price_id, basis.btc_usd_cents, basis.source, basis.as_of.isoformat())
    assert trade.price == price
    assert by_the_rules(written.text, written.legs) is not None


edits = st.tuples(
    st.integers(0, 10_000), st.integers(0, 2), st.text('0123456789-+."{}=:,\x1d\x1e\x1fabEX', max_size=2)
)


def changed(text: str, edit: tuple[int, int, str]) -> str:
    """`text` with some characters at a place taken out and others put in."""
    at, out, new = edit
    at %= len(text)
    return text[:at] + new + text[at + out :]


@given(st.sampled_from([SAMPLE, SOLD]), edits, st.integers(0, 5))
def test_what_the_rules_refuse_is_no_plain_trade(
    written: Written, edit: tuple[int, int, str], where: int
) -> None:
    text, legs = written.text, list(written.legs)
    if where < len(legs):
        legs[where] = changed(legs[where], edit)
    else:
        text = changed(text, edit)
    (trade,) = parse(Texts([text], {text.split(chain.SEPARATOR)[1]: legs}))
    if isinstance(trade, PlainTrade):
        row = by_the_rules(text, legs)
        assert row is not None
        assert (trade.id, trade.user_id, trade.seq) == (row.id, row.user_id, row.seq)
        assert (trade.created_at, trade.digest) == (row.created_at, row.digest)


def parts_of(written: Written, **changes: str) -> str:
    """The text with other values of these columns."""
    names = ["filled", *chain.REQUIRED]
    parts = written.text.split(chain.SEPARATOR)
    for name, value in changes.items():
        where = (
            names.index(name)
            if name in names
            else next(i for i, part in enumerate(parts) if part.startswith(f"{name}="))
        )
        parts[where] = value if name in names else f"{name}={value}"
    return chain.SEPARATOR.join(parts)


RECEIPT = SAMPLE.text.partition("receipt=")[2]


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "MARKET_SELL"},
        {"type": "LIMIT_BUY"},
        {"type": "DEPOSIT_INR"},
        {"status": "PENDING"},
        {"inr_amount": "1001"},
        {"btc_amount": "24421"},
        {"created_at": "2026-01-02 03:04:05.678902"},
        {"execution_price": "4095001"},
        {"receipt": RECEIPT.replace('"buy"', '"sell"')},
        {"receipt": RECEIPT.replace('"INR"', '"BTC"')},
        {"receipt": RECEIPT.replace('"amount":1000', '"amount":999')},
        {"receipt": RECEIPT.replace('"btc_usd_cents":4500000', '"btc_usd_cents":4600000')},
        {"receipt": RECEIPT.replace('"price_id":7', '"price_id":"7"')},
        {"receipt": RECEIPT.replace('"sell_multiplier":880000', '"sell_multiplier":980000')},
        {"receipt": RECEIPT.removesuffix("}")},
        {"filled": "4"},
    ],
    ids=str,
)
def test_a_changed_trade_is_no_plain_one(changes: dict[str, str]) -> None:
    text = parts_of(SAMPLE, **changes)
    assert plain_trades.read(text, SAMPLE.legs) is None
    if "price_id" not in str(changes) and "sell_multiplier" not in str(
        changes
    ):  # what other tables are asked
        assert by_the_rules(text, SAMPLE.legs) is None


def test_other_legs_make_no_plain_trade() -> None:
    first, *others = SAMPLE.legs
    for legs in (
        others,
        [*SAMPLE.legs, first],
        [*SAMPLE.legs, "6\x1favailable_inr\x1fINR\x1f1"],
        [first.replace("5", "6", 1), *others],
        [first.replace("available", "reserved"), *others],
        [],
    ):
        assert plain_trades.read(SAMPLE.text, legs) is None


def test_a_column_that_holds_the_separator_cannot_be_read() -> None:
    """What is hashed of it could be that of another row."""
    for text in (
        SAMPLE.text.replace("3", "2", 1),
        SAMPLE.text.replace("EXECUTED", "EXECUTED\x1fX"),
        f"{SAMPLE.text}\x1d",
    ):
        assert plain_trades.read(text, SAMPLE.legs) is None
        assert [*parse(Texts([text], {"9": SAMPLE.legs}))] == ["transaction 9: it cannot be read"]


@pytest.mark.parametrize(
    ("changes", "is_named"),
    [
        ({"price_id": 1}, True),
        ({"price_id": 2**63 - 1}, True),
        ({"price_id": 0}, False),
        ({"price_id": 2**63}, False),
        ({"price_id": True}, False),
        ({"price_id": "1"}, False),
        ({"price_id": None}, False),
        ({"btc_usd_cents": 1.5}, False),
        ({"source": None}, False),
        ({"as_of": 7}, False),
    ],
)
def test_a_receipt_names_a_price_by_an_id_that_a_row_may_have(
    changes: dict[str, object], is_named: bool
) -> None:
    held = {**BASIS.to_json(), **changes}
    assert (plain_trades.named_price(held) is not None) is is_named


def test_a_receipt_that_is_no_object_names_no_price() -> None:
    assert [plain_trades.named_price(held) for held in (None, [], "x", 7, {})] == [None] * 5


@given(orders, bases, st.integers(0, 10**6), st.one_of(st.none(), st.text("0123456789abcdef", max_size=32)))
def test_a_receipt_is_read_as_it_was_written(
    order: Order, basis: PriceBasis, age_ms: int, quote_id: str | None
) -> None:
    receipt = Receipt(basis, order, age_ms, quote_id)
    assert Receipt.from_json(orjson.loads(orjson.dumps(receipt.to_json()))) == receipt
