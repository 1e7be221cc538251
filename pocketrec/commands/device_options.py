"""Options that the commands of `pocketrec device` share."""

from pathlib import Path

import click

from edge_runtime.offline import forbid_sockets

HOME = click.option(
    "--home", type=click.Path(path_type=Path), required=True, help="Folder of this phone."
)
ENGINE = click.option(
    "--engine", type=click.Choice(["auto", "litert", "onnx"]), default="auto", help="Runtime."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


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
