"""The import as a whole: everybody, in the order of their ids, and a report. A second run goes on where one ended."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from bittrade import wire
from bittrade.services import ledger, settings
from bittrade.services.node_import import source, writing
from bittrade.services.node_import.conversion import Account, Converter, PastTransaction, grouped
from bittrade.services.node_import.source import Source

USERS_AT_ONCE = 200


@dataclass(slots=True)
class Report:
    """What an import did, and what it found odd."""

    users: int = 0
    users_before: int = 0  # imported by an earlier run
    transactions: int = 0
    inr: int = 0
    satoshis: int = 0
    remarks: tuple[str, ...] = ()


def import_node(address: str, *, is_dry: bool = False) -> Report:
    """Bring everybody from the original's database who is not here yet; write nothing where it `is_dry`.

    Raises InvalidInput where the original cannot be read, or where this BitTrade has users of its own.
    """
    known = writing.list_imported()
    report, converter = Report(), Converter(wire.now())
    with source.reading(address) as original:
        accounts = [converter.account(raw) for raw in original.read_users()]
        for batch in _batches(accounts):
            _bring(original, batch, converter, known, report, is_dry=is_dry)
        converter.remarks += _remarks(original)
    if not is_dry:
        for user_id in ledger.list_unchained():
            ledger.extend(user_id)
    report.remarks = tuple(converter.remarks)
    return report


def _batches(accounts: list[Account]) -> Iterator[list[Account]]:
    return (accounts[start : start + USERS_AT_ONCE] for start in range(0, len(accounts), USERS_AT_ONCE))


def _bring(
    original: Source,
    accounts: list[Account],
    converter: Converter,
    known: Collection[int],
    report: Report,
    *,
    is_dry: bool,
) -> None:
    """Bring some accounts, neighbours by id. What is odd about those that are here already is said again."""
    raw = dict(grouped(original.read_history(after=accounts[0].id - 1, until=accounts[-1].id)))
    new: dict[Account, list[PastTransaction]] = {}
    for account in accounts:
        past = converter.history(account, raw.get(account.id, ()))
        if account.id in known:
            report.users_before += 1
            continue
        new[account] = past
        report.users += 1
        report.transactions += len(past)
        report.inr += account.opening.inr
        report.satoshis += account.opening.btc
    if not is_dry:
        writing.write(new)


def _remarks(original: Source) -> Iterator[str]:
    """Say what the tables show as a whole."""
    for user_id, count in original.count_orphans():
        yield f"user {user_id} is missing: {count} rows of the history are left behind"
    for user_id, count in original.count_active_plans():
        yield f"user {user_id}: {count} recurring plans are left behind"
    for other in original.histories[1:]:
        yield f"there is a table {other} besides {original.histories[0]}: it is left behind"
    here = settings.list_settings()
    for key, value in sorted(original.read_settings().items()):
        if key in settings.DEFAULTS and here[key] != value:
            yield f"{key} is {value} there and {here[key]} here: flask --app wsgi settings set {key} {value}"
