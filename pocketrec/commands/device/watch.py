"""`pocketrec device watch`: stay current, by the policy's hours and the server's hints."""

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketrec.commands.device.options import (
    JSON,
    MAX_RATE,
    options_of_a_sync,
    require_phone,
)
from pocketrec.commands.device.sync import say_report

if TYPE_CHECKING:
    from pocketrec_bundle.errors import PocketRecError
    from pocketrec_edge.sync.client import SyncReport


@click.command(
    epilog="Example: pocketrec device watch --home work/phone --server http://127.0.0.1:8080"
)
@options_of_a_sync
@click.option("--updates", type=click.IntRange(min=1), help="End after so many; default: never.")
@MAX_RATE
@JSON
def watch(
    home: Path,
    server: str,
    channel: str,
    root: Path | None,
    consent: bool,
    engine: str,
    app_version: str | None,
    device_class: str | None,
    metered: bool,
    on_battery: bool,
    updates: int | None,
    max_rate: int | None,
    as_json: bool,
) -> None:
    """Sync now, and again whenever the channel's policy or a hint of the server says so.

    A hint only makes the phone ask, after a random part of the policy's spread_s, so that phones do
    not ask at once. --json prints a line a sync.
    """
    from pocketrec_edge.phone_home import PhoneHome
    from pocketrec_edge.releases.selftest import replay
    from pocketrec_edge.sync.bucket_id import bucket_id
    from pocketrec_edge.sync.client import UPDATED, sync
    from pocketrec_edge.sync.conditions import Conditions
    from pocketrec_edge.sync.hints import hints, known
    from pocketrec_edge.sync.http import Pace
    from pocketrec_edge.sync.policy import remembered
    from pocketrec_edge.sync.watch import Watch

    if root is None:
        require_phone(home)
    place, updated = PhoneHome(home), 0

    def tell(said: "SyncReport | PocketRecError") -> None:
        nonlocal updated
        if isinstance(said, Exception):
            click.echo(f"fault: {said}", err=True)
            return
        updated += said.status == UPDATED
        say_report(said, as_json=as_json)

    def once() -> "SyncReport":
        return sync(
            home,
            server,
            lambda bundle: replay(bundle, engine),
            channel=channel,
            root_path=root,
            consent=consent,
            pace=Pace(most=max_rate),
            app_version=app_version,
            device_class=device_class,
            conditions=Conditions.local(time.time(), metered=metered, on_battery=on_battery),
            engine=engine,
        )

    Watch(
        sync=once,
        listen=partial(hints, server, channel),
        known=lambda: known(place, channel),
        policy=lambda: remembered(place, channel).sync,
        bucket_id=bucket_id(place),
        tell=tell,
    ).run(lambda: updates is not None and updated >= updates)
