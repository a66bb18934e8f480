"""The operators' commands for backups."""

from datetime import UTC, datetime
from pathlib import Path

import click
from flask.cli import with_appcontext

from bittrade import cache
from bittrade.cli.operation import operation
from bittrade.services import backup as backups
from bittrade.services import ledger

_FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, writable=True, path_type=Path)
_passphrase = click.option(
    "--passphrase-file", "passphrase", type=_FILE, help="encrypt with the first line of this file"
)


@click.command("backup")
@click.argument("folder", type=_FOLDER)
@_passphrase
@with_appcontext
@operation
def back_up(folder: Path, passphrase: Path | None) -> None:
    """Write the whole database into FOLDER, as of one moment, while everybody goes on trading."""
    path, made = backups.back_up(folder, passphrase=passphrase)
    click.echo(f"{path}: {made.bytes} bytes, sha256 {made.sha256}")
    if made.binlog_file is None:
        click.echo(
            "The server keeps no binary log (log_bin): what comes after this backup can't be brought back"
        )
    else:
        click.echo(f"the binary log goes on in {made.binlog_file} at {made.binlog_position}")


@click.command("restore")
@click.argument("backup", type=_FILE)
@click.option(
    "--binlog", "binlogs", type=_FILE, multiple=True, help="a file of the binary log; repeat, in order"
)
@click.option(
    "--until", type=click.DateTime(), help="of the binary log take what was before this moment (UTC)"
)
@_passphrase
@with_appcontext
@operation
def restore(backup: Path, binlogs: tuple[Path, ...], until: datetime | None, passphrase: Path | None) -> None:
    """Bring BACKUP back into an empty database, go on with the binary log, and prove the books. Stop all processes first."""
    moment = None if until is None else until.replace(tzinfo=UTC)
    made = backups.restore(backup, binlogs=binlogs, until=moment, passphrase=passphrase)
    click.echo(f"restored {made.file} of {made.made_at}, and {len(binlogs)} files of the binary log")
    is_cache_empty = backups.finish(made)
    proof = ledger.verify()
    for fault in proof.faults:
        click.echo(f"- {fault}")
    if not proof.is_right:
        raise click.ClickException("the books don't add up: serve nobody from this database")
    click.echo("the books add up")
    if not is_cache_empty:
        raise click.ClickException(
            "Redis is away, and its cache may know what the database no longer does: empty it before you start"
            " (flask --app wsgi cache-clear)"
        )


@click.command("cache-clear")
@with_appcontext
@operation
def clear_cache() -> None:
    """Empty the cache, as after a restore by other means."""
    if not cache.forget_everything():
        raise click.ClickException("Redis is away")


COMMANDS = (back_up, restore, clear_cache)
