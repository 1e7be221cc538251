"""Options that the commands of `pocketrec device` share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edge_runtime.offline import forbid_sockets

HOME = click.option(
    "--home", type=click.Path(path_type=Path), required=True, help="Folder of this phone."
)
ENGINE = click.option(
    "--engine", type=click.Choice(["auto", "litert", "onnx"]), default="auto", help="Runtime."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
SERVER = click.option("--server", required=True, help="Address of the sync server.")
CHANNEL = click.option("--channel", default="stable", show_default=True, help="Release channel.")
ROOT = click.option(
    "--root", type=click.Path(path_type=Path), help="Trusted root, for the first sync."
)
CONSENT = click.option(
    "--consent",
    is_flag=True,
    help="The user agrees that events are sent, now and later: as `device consent --grant`.",
)
APP_VERSION = click.option(
    "--app-version", help="Of the app; a release may be for some versions only."
)
DEVICE_CLASS = click.option(
    "--device-class", help="Of the phone; a release may be for some classes only."
)
METERED = click.option("--metered", is_flag=True, help="The network costs by volume.")
MAX_RATE = click.option(
    "--max-rate", type=click.IntRange(1), help="Bytes a second that may come at most."
)
ON_BATTERY = click.option("--on-battery", is_flag=True, help="The phone is not charging.")
_OF_A_SYNC = (HOME, SERVER, CHANNEL, ROOT, CONSENT, ENGINE, APP_VERSION, DEVICE_CLASS)


def options_of_a_sync(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which phone syncs, with what, and how it stands."""
    for option in reversed((*_OF_A_SYNC, METERED, ON_BATTERY)):  # as decorators one above another
        command = option(command)
    return command


def _go_offline(_context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    if value:
        forbid_sockets()
    return value


OFFLINE = click.option(
    "--offline",
    is_flag=True,
    is_eager=True,
    callback=_go_offline,
    expose_value=False,
    help="Refuse every socket in this process.",
)


def say_faults(faults: list[str]) -> None:
    """Tell faults on stderr."""
    for fault in faults:
        click.echo(f"fault: {fault}", err=True)
