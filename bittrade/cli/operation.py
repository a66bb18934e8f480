"""How an operator's command runs: as its operator, for the audit log, and with our errors as one line."""

import getpass
from collections.abc import Callable
from functools import wraps
from typing import Any

import click
from sqlalchemy.exc import SQLAlchemyError

from bittrade.errors import BitTradeError, WrongSchema
from bittrade.services import audit
from bittrade.services.audit import Origin


def operation(command: Callable[..., None]) -> Callable[..., None]:
    """Run a command as its operator, and turn our errors into one line and exit status 1."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        audit.origin.set(Origin(actor=f"operator {getpass.getuser()}"))
        try:
            command(*args, **kwargs)
        except WrongSchema as error:
            raise click.ClickException(error.fault) from error
        except BitTradeError as error:
            raise click.ClickException(error.message) from error
        except SQLAlchemyError as error:
            hint = "Are the tables there? flask --app wsgi db upgrade"
            raise click.ClickException(
                f"The database refused: {getattr(error, 'orig', error)}. {hint}"
            ) from error

    return run
