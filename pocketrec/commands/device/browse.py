"""`pocketrec device browse`: look at a phone's list and act on it."""

import json
import subprocess
import sys
from pathlib import Path

import click

from pocketrec.commands.device.options import ENGINE, MAYBE_HOME, require_phone, server
from pocketrec_bundle.errors import InputError, PocketRecError

WIDTH = 100
"""Columns if the output goes to a file or pipe."""


@click.command(
    epilog="Example: pocketrec device browse --home work/phone --server http://127.0.0.1:8080"
)
@MAYBE_HOME
@ENGINE
@click.option("--bundle", type=click.Path(path_type=Path), help="Use this bundle folder.")
@click.option("-k", type=click.IntRange(1, 100), help="Items on a page; default: the release's.")
@server("Sync server for `o`; without it the phone stays offline.")
@click.option("--channel", default="stable", show_default=True, help="Release channel.")
@click.option("--root", type=click.Path(path_type=Path), help="Trusted root, for the first sync.")
def browse(
    home: Path,
    engine: str,
    bundle: Path | None,
    k: int | None,
    server: str | None,
    channel: str,
    root: Path | None,
) -> None:
    """Browse the phone's list: like, explain, turn the page; it reacts at once.

    Lines are commands, from a terminal or a pipe: `l 3` likes place 3, `b 3 EVENT` logs another
    event, `e 3` explains, `n` next page, `o` online (syncs) or offline, `s` status, `q` quit. This
    process refuses every socket; going online starts `pocketrec device sync`. A phone that is not
    there is founded with --bundle, or with --server and --root.
    """
    from rich.console import Console

    from pocketrec.browse.session import Session, parse
    from pocketrec.browse.view import screen
    from pocketrec_edge.device import Device
    from pocketrec_edge.offline import forbid_sockets

    def sync() -> str:
        assert server is not None
        options = ["--home", str(home), "--server", server, "--channel", channel]
        return _sync([*options, *(("--root", str(root)) if root else ())], engine)

    if bundle is not None and server is not None:
        raise InputError("--bundle shows that folder's release, and --server would sync another.")
    if server is None or root is None:
        require_phone(home, bundle)
    forbid_sockets()
    typed = sys.stdin.isatty()
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    session = Session(
        lambda: Device(home, engine=engine, bundle=bundle), sync if server else None, k
    )
    try:
        goes_on = True
        while goes_on:
            if console.is_terminal:
                console.clear()
            console.print(screen(session), highlight=False)
            line = _read("> " if typed else "")
            if line is None:
                break
            if not typed:
                console.print(f"> {line}", markup=False, highlight=False)
            try:
                goes_on = session.do(parse(line))
            except InputError as err:
                session.messages = [str(err)]
    finally:
        session.close()


def _read(prompt: str) -> str | None:
    """Return the next line; None at the end of input or if the person quits."""
    try:
        return input(prompt)
    except (EOFError, KeyboardInterrupt):
        return None


def _sync(options: list[str], engine: str) -> str:
    """Sync in a process of its own, which may open sockets; returns what it did.

    Raises:
        PocketRecError: it did not work.
    """
    command = [sys.executable, "-m", "pocketrec", "device", "sync", "--json", "--anyway", *options]
    done = subprocess.run(  # noqa: S603 (our own command)
        [*command, "--engine", engine], capture_output=True, encoding="utf-8"
    )
    if done.returncode:
        raise PocketRecError(done.stderr.strip() or f"the sync ended with {done.returncode}")
    report = json.loads(done.stdout)
    return (
        f"{report['status']}: release {(report['to_release'] or 'none')[:12]}, "
        f"{report['bytes_down']:,} bytes down, {report['events_sent']} events up"
    )
