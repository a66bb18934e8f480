"""The operators' commands for what waits: limit orders and recurring plans."""

import json
from typing import Any

import click
from flask.cli import AppGroup

from bittrade.cli.operation import operation
from bittrade.domain.orders import OrderStatus
from bittrade.domain.plans import PlanStatus
from bittrade.services import auth, orders, plans

orders_group = AppGroup("orders", help="Limit orders.")
plans_group = AppGroup("plans", help="Recurring plans.")
GROUPS = (orders_group, plans_group)

some = click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
of_user = click.option("--user", "email", help="only this account's")
because = click.option("--why", required=True, help="for the audit log, and for the owner to read")


@orders_group.command("list")
@of_user
@click.option("--status", type=click.Choice([status.value for status in OrderStatus]))
@some
@operation
def list_orders(email: str | None, status: str | None, limit: int) -> None:
    """List orders of everybody, newest first."""
    for order in orders.list_for_operator(user_id=_find_id(email), status=status, limit=limit):
        _print_row(
            order, "id", "user_id", "type", "status", "limit_price", "amount", "currency", "created_at"
        )


@orders_group.command("show")
@click.argument("order_id", type=int)
@operation
def show_order(order_id: int) -> None:
    """Show all of an order."""
    _print_all(orders.get_for_operator(order_id))


@orders_group.command("cancel")
@click.argument("order_id", type=int)
@because
@operation
def cancel_order(order_id: int, why: str) -> None:
    """Cancel an open order and give back what it reserved."""
    order = orders.cancel_as_operator(order_id, why=why)
    click.echo(f"order {order['id']} cancelled")


@plans_group.command("list")
@of_user
@click.option("--status", type=click.Choice([status.value for status in PlanStatus]))
@some
@operation
def list_plans(email: str | None, status: str | None, limit: int) -> None:
    """List plans of everybody, newest first; also those that were ended."""
    for plan in plans.list_for_operator(user_id=_find_id(email), status=status, limit=limit):
        amount, unit = plan["amount_per_execution_inr"], "inr"
        if amount is None:
            amount, unit = plan["amount_per_execution_btc"], "btc"
        shown = {**plan, "amount": amount, "currency": unit}
        _print_row(
            shown, "id", "user_id", "plan_type", "status", "frequency", "amount", "currency", "next_execution_at"
        )  # fmt: skip


@plans_group.command("show")
@click.argument("plan_id", type=int)
@operation
def show_plan(plan_id: int) -> None:
    """Show all of a plan, with its latest runs."""
    _print_all(plans.get_for_operator(plan_id))


@plans_group.command("cancel")
@click.argument("plan_id", type=int)
@because
@operation
def cancel_plan(plan_id: int, why: str) -> None:
    """End a plan for good; its runs and trades stay."""
    plans.cancel_as_operator(plan_id, why=why)
    click.echo(f"plan {plan_id} cancelled")


@plans_group.command("pause")
@click.argument("plan_id", type=int)
@because
@operation
def pause_plan(plan_id: int, why: str) -> None:
    """Pause a plan; its owner can resume it."""
    plans.pause_as_operator(plan_id, why=why)
    click.echo(f"plan {plan_id} paused")


def _find_id(email: str | None) -> int | None:
    return None if email is None else auth.get_user_id(email)


def _print_row(facts: dict[str, Any], *names: str) -> None:
    click.echo("\t".join("-" if facts[name] is None else str(facts[name]) for name in names))


def _print_all(facts: dict[str, Any]) -> None:
    click.echo(json.dumps(facts, indent=2))
