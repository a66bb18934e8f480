"""The operators' commands for loans. Nothing here moves money: a loan is closed by its owner or by the price."""

import json

import click
from flask.cli import AppGroup

from bittrade.cli.operation import operation
from bittrade.domain.loans import LoanStatus
from bittrade.services import auth, loans

loans_group = AppGroup("loans", help="Loans against bitcoin.")
GROUPS = (loans_group,)


@loans_group.command("list")
@click.option("--user", "email", help="only this account's")
@click.option("--status", type=click.Choice([status.value for status in LoanStatus]))
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@operation
def list_loans(email: str | None, status: str | None, limit: int) -> None:
    """List loans of everybody, newest first."""
    user_id = None if email is None else auth.get_user_id(email)
    for loan in loans.list_for_operator(user_id=user_id, status=status, limit=limit):
        parts = (
            loan["id"],
            f"user {loan['user_id']}",
            loan["status"],
            f"{loan['collateral_btc']} satoshis",
            f"₹{loan['debt_inr']}",
            f"LTV {'-' if loan['ltv_pct'] is None else loan['ltv_pct']} %",
            f"liquidation at {loan['liquidation_rate_inr'] or '-'}",
            loan["created_at"],
        )
        click.echo("\t".join(map(str, parts)))


@loans_group.command("show")
@click.argument("loan_id", type=int)
@operation
def show_loan(loan_id: int) -> None:
    """Show one loan with its interest and what endangers it."""
    for name, value in loans.get_for_operator(loan_id).items():
        click.echo(f"{name} {json.dumps(value)}")
