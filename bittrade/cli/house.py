"""The operators' commands for accounts, money, settings, market data, the books and trading."""

import json
import os
import time
from collections.abc import Callable
from typing import Any, TextIO

import click
from flask.cli import AppGroup, with_appcontext

from bittrade.cli.operation import operation
from bittrade.domain.pricing import TIMEFRAMES
from bittrade.domain.roles import Role
from bittrade.errors import NotConfirmed
from bittrade.services import (
    audit,
    auth,
    corrections,
    doctor,
    funds,
    halt,
    ledger,
    market,
    node_import,
    settings,
    traffic,
)
from bittrade.services.auth import staff
from bittrade.services.funds import Funds

user_group = AppGroup("user", help="Accounts.")
balance_group = AppGroup("balance", help="Deposits and withdrawals.")
settings_group = AppGroup("settings", help="Values that change while the servers run.")
market_group = AppGroup("market", help="Market data.")
ledger_group = AppGroup("ledger", help="The books.")
trading_group = AppGroup("trading", help="Halt and resume trading.")
transaction_group = AppGroup("transaction", help="Corrections.")
audit_group = AppGroup("audit", help="Who did what.")
import_group = AppGroup("import", help="The move from another system.")
GROUPS = (
    user_group,
    balance_group,
    settings_group,
    market_group,
    ledger_group,
    trading_group,
    transaction_group,
    audit_group,
    import_group,
)


@user_group.command("create")
@click.argument("email")
@click.option("--name", required=True)
@operation
def create_user(email: str, name: str) -> None:
    """Open an account. The password is asked for, or is BITTRADE_NEW_PASSWORD: arguments are for everybody to see."""
    password = os.environ.get("BITTRADE_NEW_PASSWORD") or click.prompt(
        "Password", hide_input=True, confirmation_prompt=True
    )
    user = auth.create_user(email=email, password=password, name=name)
    click.echo(f"user {user['id']} {user['email']}")


@user_group.command("list")
@operation
def list_users() -> None:
    """List accounts."""
    for user in auth.list_users():
        click.echo(
            f"{user['id']}\t{user['email']}\t{user['name']}\t{'disabled' if user['disabled'] else 'active'}"
        )


@user_group.command("disable")
@click.argument("email")
@operation
def disable_user(email: str) -> None:
    """Shut an account and end its tokens."""
    click.echo(f"user {auth.disable_user(email)} disabled")


@user_group.command("enable")
@click.argument("email")
@operation
def enable_user(email: str) -> None:
    """Open a shut account again. Its old tokens stay ended."""
    click.echo(f"user {auth.enable_user(email)} enabled")


@user_group.command("unlock")
@click.argument("email")
@operation
def unlock_user(email: str) -> None:
    """Lift the locks that failed logins have put on an account."""
    click.echo(f"user {auth.unlock_user(email)} unlocked")


@user_group.command("role")
@click.argument("email")
@click.argument("role", type=click.Choice([role.value for role in Role]))
@click.option("--why", default="by the operators' command", show_default=True)
@operation
def set_role(email: str, role: str, why: str) -> None:
    """Give an account a role. Who may less than before has to log in again."""
    before = staff.set_role(auth.get_user_id(email), Role(role), why=why)
    click.echo(f"{email} was {before} and is {role}")


def amounts(command: Callable[..., None]) -> Callable[..., None]:
    with_btc = click.option("--btc", "satoshis", type=int, default=0, help="satoshis")(command)
    return click.option("--inr", type=int, default=0, help="whole rupees")(with_btc)


@balance_group.command("deposit")
@click.argument("email")
@amounts
@operation
def deposit(email: str, inr: int, satoshis: int) -> None:
    """Credit a user."""
    _print_balance(funds.deposit(auth.get_user_id(email), Funds(inr, satoshis)))


@balance_group.command("withdraw")
@click.argument("email")
@amounts
@operation
def withdraw(email: str, inr: int, satoshis: int) -> None:
    """Debit a user."""
    _print_balance(funds.withdraw(auth.get_user_id(email), Funds(inr, satoshis)))


def _print_balance(balance: dict[str, int]) -> None:
    click.echo(" ".join(f"{name}={value}" for name, value in balance.items()))


@settings_group.command("list")
@operation
def list_settings() -> None:
    """Show every setting."""
    _print_settings(settings.list_settings())


@settings_group.command("set")
@click.argument("key")
@click.argument("value")
@click.option("--yes", "is_confirmed", is_flag=True, help="also a large step, or far from the market's rate")
@operation
def set_setting(key: str, value: str, is_confirmed: bool) -> None:
    """Change a setting; connected clients get the new rates at once, and open quotes are void."""
    rate = None if is_confirmed else market.find_inr_rate()
    try:
        values = settings.set_setting(key, value, is_confirmed=is_confirmed, market_rate=rate)
    except NotConfirmed as doubt:
        raise click.ClickException(f"{doubt.message}. If it is meant, add --yes") from doubt
    _print_settings(values)
    market.publish_rates()


def _print_settings(values: dict[str, str]) -> None:
    for key, value in sorted(values.items()):
        click.echo(f"{key} {value}")


@market_group.command("fetch")
@operation
def fetch() -> None:
    """Fetch the price, the sentiment and all charts now."""
    market.update_price()
    market.update_sentiment()
    for timeframe in TIMEFRAMES:
        market.update_chart(timeframe)
    click.echo(f"fetched the price, the sentiment and {len(TIMEFRAMES)} charts")


@ledger_group.command("verify")
@click.option(
    "--all/--recent", "is_whole", default=True, help="from the first transaction, or from the last proof on"
)
@click.option("--against", type=click.File(), help="a digest that was kept elsewhere")
@operation
def verify(is_whole: bool, against: TextIO | None) -> None:
    """Prove that the books follow from their rows, and no row was changed; exit status 1 where not."""
    if against is not None and not is_whole:
        raise click.UsageError("a digest is compared with the whole of the books: leave out --recent")
    digest = None if against is None else ledger.read_digest(against)
    proof = ledger.verify(digest=digest) if is_whole else ledger.verify_recent()
    _print_proof(proof)


def _print_proof(proof: ledger.Proof) -> None:
    for fault in proof.faults:
        click.echo(fault, err=True)
    click.echo(f"{proof.transactions} transactions, {proof.legs} legs, {proof.balances} balances")
    if proof.unchained:
        click.echo(f"{proof.unchained} users' histories are not chained up to their end: ledger chain")
    if proof.faults:
        raise click.ClickException(f"{len(proof.faults)} faults")
    if not proof.is_complete:
        raise click.ClickException("it took too long: not all of the books was read")
    click.echo("the books are right")


@ledger_group.command("chain")
@operation
def chain_histories() -> None:
    """Bring the hash chain of every user up to the end of their history; once, after the upgrade that brought it."""
    users = ledger.list_unchained()
    count = sum(ledger.extend(user_id) for user_id in users)
    click.echo(f"{count} transactions of {len(users)} users chained")


@ledger_group.command("digest")
@operation
def write_digest() -> None:
    """Print each user's newest link. Keep it where whoever can write to the database can't reach it."""
    for line in ledger.write_digest():
        click.echo(line, nl=False)


@trading_group.command("halt")
@click.option("--why", required=True)
@operation
def halt_trading(why: str) -> None:
    """Refuse every trade, on every process, until resumed."""
    halt.halt_trading(why)
    click.echo("trading is halted")


@trading_group.command("resume")
@click.option("--why", required=True)
@operation
def resume_trading(why: str) -> None:
    """Trade again."""
    halt.resume_trading(why)
    click.echo("trading goes on")


@transaction_group.command("reverse")
@click.argument("transaction_id", type=int)
@click.option("--why", required=True)
@operation
def reverse_transaction(transaction_id: int, why: str) -> None:
    """Post the opposite of a transaction."""
    posted = corrections.reverse_transaction(transaction_id, why=why)
    click.echo(f"transaction {posted.transaction_id} reverses {transaction_id}")


@import_group.command("node")
@click.option(
    "--from",
    "address",
    required=True,
    envvar="BITTRADE_IMPORT_FROM",
    help="the original's database, mysql://…; also as BITTRADE_IMPORT_FROM, which no list of processes shows",
)
@click.option("--dry-run", "is_dry", is_flag=True, help="only report; write nothing")
@operation
def import_from_node(address: str, is_dry: bool) -> None:
    """Bring the original server's users, balances and history into an empty BitTrade; a second run goes on."""
    report = node_import.import_node(address, is_dry=is_dry)
    for remark in report.remarks:
        click.echo(f"- {remark}")
    click.echo(
        f"{'would import' if is_dry else 'imported'} {report.users} users, {report.transactions} past transactions, "
        f"₹{report.inr} and {report.satoshis} satoshis; {report.users_before} users were here already; "
        f"{len(report.remarks)} remarks"
    )
    if not is_dry:
        _print_proof(ledger.verify())


@audit_group.command("tail")
@click.option("--lines", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--user", "email", help="only what concerns this account")
@click.option("--follow", is_flag=True, help="go on until Ctrl-C")
@operation
def tail_audit(lines: int, email: str | None, follow: bool) -> None:
    """Show the newest rows of the audit log, oldest first."""
    user_id = None if email is None else auth.get_user_id(email)
    events = audit.tail(limit=lines, user_id=user_id)
    _print_events(events)
    while follow:
        time.sleep(1)
        after = events[-1]["id"] if events else 0
        _print_events(fresh := audit.tail(limit=1000, after_id=after, user_id=user_id))
        events = fresh or events


def _print_events(events: list[dict[str, Any]]) -> None:
    for event in events:
        whom = "-" if event["user_id"] is None else f"user {event['user_id']}"
        facts = json.dumps(event["facts"], sort_keys=True)
        parts = (event["at"], event["action"], event["actor"], whom, event["address"] or "-", facts)
        click.echo("\t".join(parts))


@click.command("doctor")
@with_appcontext
def examine() -> None:
    """Say what is wrong with this deployment and how to mend it; exit status 1 where something is."""
    findings = doctor.examine()
    for finding in findings:
        click.echo(f"- {finding.fault}\n  {finding.remedy}")
    if findings:
        raise click.ClickException(f"{len(findings)} to mend")
    click.echo("nothing to mend")


@click.command("sockets")
@with_appcontext
def show_sockets() -> None:
    """Show each web process' sockets, and what it counted since it began. At most 15 s old."""
    reports = traffic.list_reports()
    if reports is None:
        raise click.ClickException("Redis is away, and with it what the web processes say of themselves")
    for figures in reports:
        head = f"{figures.pop('process')} at {figures.pop('at')}"
        click.echo("\t".join([head, *(f"{name}: {count}" for name, count in figures.items())]))
    if not reports:
        click.echo("no web process with sockets has said anything in the last minute")
