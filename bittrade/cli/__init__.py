"""What operators type: `flask --app wsgi …`. Every change is written to the audit log as theirs."""

from flask import Flask

from bittrade.cli import backup, house, loans, orders


def init_cli(app: Flask) -> None:
    """Add every command to the application's own."""
    for group in (*house.GROUPS, *loans.GROUPS, *orders.GROUPS):
        app.cli.add_command(group)
    for command in backup.COMMANDS:
        app.cli.add_command(command)
    app.cli.add_command(house.examine)
    app.cli.add_command(house.show_sockets)
