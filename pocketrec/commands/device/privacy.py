"""`pocketrec device consent`, `export-data` and `erase`: what a person decides about their data."""

import json
import time
from dataclasses import asdict
from pathlib import Path

import click

from pocketrec.commands.device.options import HOME, JSON, OFFLINE, server
from pocketrec_bundle.errors import InputError


@click.command(epilog="Example: pocketrec device consent --home work/phone --grant --terms 2024-05")
@HOME
@OFFLINE
@JSON
@click.option(
    "--grant/--withdraw",
    "granted",
    default=None,
    help="The user agrees that events are sent, or no longer; without either, show the state.",
)
@click.option(
    "--only-sums",
    is_flag=True,
    help="With --grant: the user agrees to sums of experiments only; no event is sent.",
)
@click.option("--terms", help="Version of the text that the user was shown.")
def consent(
    home: Path, as_json: bool, granted: bool | None, only_sums: bool, terms: str | None
) -> None:
    """Note whether events may leave the phone; what a withdrawal finds unsent never will."""
    from pocketrec_edge.events.log import EventLog
    from pocketrec_edge.phone_home import PhoneHome

    if granted is None and terms is not None:
        raise InputError("--terms says what was agreed to: add --grant or --withdraw.")
    if only_sums and not granted:
        raise InputError("--only-sums says what was agreed to: add --grant.")
    log = EventLog(PhoneHome(home).event_log)
    decision = (
        log.consent() if granted is None else log.set_consent(granted, terms, only_sums=only_sums)
    )
    log.close()
    if as_json:
        click.echo(json.dumps(asdict(decision)))
        return
    of_terms = f", terms {decision.terms}" if decision.terms else ""
    click.echo(f"consent: {decision.state}{of_terms}")


@click.command(
    "export-data",
    epilog="Example: pocketrec device export-data --home work/phone --out work/my-data.jsonl",
)
@HOME
@OFFLINE
@JSON
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="JSON Lines file to write."
)
@click.option("--force", is_flag=True, help="Overwrite.")
def export_data(home: Path, as_json: bool, out: Path, force: bool) -> None:
    """Write all that the phone holds about its user."""
    from pocketrec_edge.events import privacy
    from pocketrec_edge.phone_home import PhoneHome

    if out.exists() and not force:
        raise InputError(f"{out}: exists. Add --force to overwrite it.")
    events = privacy.export_data(PhoneHome(home), out, now=int(time.time()))
    click.echo(json.dumps({"events": events}) if as_json else f"{out}: {events} events")


@click.command(epilog="Example: pocketrec device erase --home work/phone --yes")
@HOME
@OFFLINE
@JSON
@click.option("--yes", is_flag=True, help="Confirm. This cannot be undone.")
@server("Sync server that is to erase first what this phone has sent it.")
def erase(home: Path, as_json: bool, yes: bool, server: str | None) -> None:
    """Erase events, consent, interests and install id; releases stay.

    With --server, what was sent is erased there first; where that fails, nothing is erased here.
    """
    from pocketrec_edge.events import privacy
    from pocketrec_edge.phone_home import PhoneHome

    if not yes:
        raise InputError(f"{home}: this erases all data of its user. Add --yes to do it.")
    there = sums_there = None
    if server:
        from pocketrec_edge.sync.http import Network
        from pocketrec_edge.sync.uploads.events import erase_on_server
        from pocketrec_edge.sync.uploads.sums import erase_sums_on_server

        there = erase_on_server(PhoneHome(home), server, Network())
        sums_there = erase_sums_on_server(PhoneHome(home), server, Network())
    erased = privacy.erase(PhoneHome(home))
    if as_json:
        click.echo(
            json.dumps(
                asdict(erased) | {"erased_on_server": there, "sums_erased_on_server": sums_there}
            )
        )
        return
    events = "a damaged log" if erased.events is None else f"{erased.events} events"
    click.echo(f"erased {events}")
    if there is not None:
        click.echo(f"the server erased {there} events")
    if sums_there is not None:
        click.echo(f"the server erased the sums of {sums_there} experiments")
    if there is None and erased.install_id:
        click.echo(
            f"what was sent is on the server still, under install id {erased.install_id}: give it"
            " to the operator to have that erased too",
            err=True,
        )
    if sums_there is None and erased.sums_ids:
        click.echo(
            f"sums are on the server still, under {', '.join(erased.sums_ids)}; it deletes them"
            " with DELETE /v1/sums/ID, or 90 days after their experiment",
            err=True,
        )
    if erased.unread_sums:
        click.echo(
            "sums may be on the server still, under ids that were encrypted; it deletes them 90"
            " days after their experiment",
            err=True,
        )
