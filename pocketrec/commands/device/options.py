"""Options that the commands of `pocketrec device` share."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.reader import manifest_of
from pocketrec_edge.offline import forbid_sockets
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.sync import server_address


def require_phone(home: Path, bundle: Path | None = None) -> None:
    """Refuse a folder without a phone: a mistyped --home must not found an empty one.

    Args:
        home: the folder; with a bundle to answer from it may be a new one.
        bundle: the bundle's folder.

    Raises:
        InputError: nothing of a phone is there.
        BundleInvalidError: nothing of a bundle is there.
    """
    if bundle is not None:
        manifest_of(bundle)
    elif not PhoneHome(home).exists():
        raise InputError(
            f"{home}: no phone is there. Check --home, or create one: `pocketrec device install "
            f"--home {home} BUNDLE`, or `pocketrec device sync --home {home} --server URL "
            "--root 1.root.json`."
        )


def _existing(_context: click.Context, _parameter: click.Parameter, value: Path) -> Path:
    require_phone(value)
    return value


class ServerOption(click.Option):
    """`--server`; `--url`, as some commands called it, is accepted and shown nowhere."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the option's line of `--help`."""
        names, self.opts = self.opts, self.opts[:1]
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = names

    def get_error_hint(self, ctx: click.Context | None) -> str:  # noqa: ARG002 (click calls it so)
        """Return the name that messages have."""
        return f"'{self.opts[0]}'"


def _address(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    return None if value is None else server_address.checked(value)


def server(text: str, *, required: bool = False) -> Callable[..., Any]:
    """Return the option with the address of the sync server."""
    return click.option(
        "--server",
        "--url",
        "server",
        cls=ServerOption,
        callback=_address,
        required=required,
        help=text,
    )


HOME = click.option(
    "--home",
    type=click.Path(path_type=Path),
    required=True,
    callback=_existing,
    help="Folder of this phone.",
)
NEW_HOME = click.option(
    "--home",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of this phone; a new phone if it is not there.",
)
MAYBE_HOME = click.option(
    "--home", type=click.Path(path_type=Path), required=True, help="Folder of this phone."
)
ENGINE = click.option(
    "--engine", type=click.Choice(["auto", "litert", "onnx"]), default="auto", help="Runtime."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
SERVER = server("Address of the sync server.", required=True)
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
_OF_A_SYNC = (NEW_HOME, SERVER, CHANNEL, ROOT, CONSENT, ENGINE, APP_VERSION, DEVICE_CLASS)


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


def say_faults(faults: Iterable[object]) -> None:
    """Print faults on stderr."""
    for fault in faults:
        click.echo(f"fault: {fault}", err=True)
