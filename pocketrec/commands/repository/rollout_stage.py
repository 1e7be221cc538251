"""`pocketrec rollout stage` and `when`: which devices get a release, and when devices sync."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketrec.commands.repository.keys_options import BY, KEYS, REASON, REPO, note_of
from pocketrec.commands.repository.rollout_options import (
    CHANNEL,
    JSON,
    PERCENT,
    RELEASE,
    OptionalMoment,
    RampStep,
    change_release,
    say,
    signers_of,
)
from pocketrec.finite import FiniteRange

if TYPE_CHECKING:
    from pocketrec_bundle.settings.rollout import RolloutPolicy, Stage


@click.command(
    epilog="Example: pocketrec rollout stage spring --repo work/repo --keys work/keys --percent 10"
)
@RELEASE
@REPO
@KEYS
@CHANNEL
@click.option("--percent", type=PERCENT, help="Share of the devices that are offered it.")
@click.option(
    "--ramp",
    type=RampStep(),
    multiple=True,
    help="A larger share from this time on; repeatable. --percent alone ends a ramp.",
)
@click.option("--app-least", help='Minimum version of the app; "" for any.')
@click.option("--app-below", help='First version of the app that is too new; "" for no limit.')
@click.option("--device-class", "classes", multiple=True, help='Repeatable; "" alone for all.')
@click.option(
    "--from", "begins", type=OptionalMoment(), help='Offer it from this time on; "" for now.'
)
@click.option("--until", "ends", type=OptionalMoment(), help='Offer it until then; "" for no end.')
@click.option(
    "--halt-above",
    type=FiniteRange(0, 1),
    help="Halt it if it failed on more than this share of devices; a network counts as one device.",
)
@click.option(
    "--halt-of",
    type=click.IntRange(1, 10**9),
    default=100,
    show_default=True,
    help="Halt it only if more networks than this reported outcomes.",
)
@click.option("--no-halt", is_flag=True, help="Never halt it automatically.")
@BY
@REASON
@JSON
def stage(
    release: str,
    repo: Path,
    keys: tuple[Path, ...],
    channel: str,
    percent: float | None,
    ramp: tuple[tuple[int, float], ...],
    app_least: str | None,
    app_below: str | None,
    classes: tuple[str, ...],
    begins: int | None,
    ends: int | None,
    halt_above: float | None,
    halt_of: int,
    no_halt: bool,
    by: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Set which devices are offered RELEASE. Options that are not given keep their values.

    With a larger share, devices that were offered the release still are. With a smaller share,
    devices that have it keep it.
    """
    from pocketrec_bundle.settings.rollout import FailureLimit
    from pocketrec_server.repository.rollout import changed

    def change(policy: "RolloutPolicy", stage: "Stage") -> "RolloutPolicy":
        app = stage.app
        if app_least is not None:
            app = replace(app, least=app_least or None)
        if app_below is not None:
            app = replace(app, below=app_below or None)
        changes: dict[str, Any] = {"app": app}
        if percent is not None:
            changes["percent"] = percent
        if ramp:
            changes["ramp"] = ramp
        if classes:
            changes["device_classes"] = tuple(filter(None, classes))
        if begins is not None:
            changes["from_utc"] = begins
        if ends is not None:
            changes["until_utc"] = ends or None
        if halt_above is not None:
            changes["most_failures"] = FailureLimit(of=halt_of, share=halt_above)
        if no_halt:
            changes["most_failures"] = None
        return changed(policy, stage, **changes)

    note = note_of(by, reason)
    change_release(release, repo, keys, channel, as_json, note, "stage", change)


@click.command(
    epilog="Example: pocketrec rollout when --repo work/repo --keys work/keys --quiet-hours 22-7"
)
@REPO
@KEYS
@CHANNEL
@click.option("--unmetered/--any-network", default=None, help="Sync on unmetered networks only.")
@click.option("--charging/--on-battery", default=None, help="Sync while charging only.")
@click.option("--quiet-hours", help='Local hours without sync, such as 22-7; "" for none.')
@click.option("--every-s", type=int, help="Seconds between two syncs.")
@click.option("--spread-s", type=int, help="Maximum random delay of a sync in seconds.")
@BY
@REASON
@JSON
def when(
    repo: Path,
    keys: tuple[Path, ...],
    channel: str,
    unmetered: bool | None,
    charging: bool | None,
    quiet_hours: str | None,
    every_s: int | None,
    spread_s: int | None,
    by: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Set when the devices of a channel sync. Options that are not given keep their values."""
    from pocketrec_server.repository import publish as repository

    given = {
        "unmetered": unmetered,
        "charging": charging,
        "every_s": every_s,
        "spread_s": spread_s,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if quiet_hours is not None:
        changes["quiet_hours"] = _hours(quiet_hours)

    def change(policy: "RolloutPolicy") -> "RolloutPolicy":
        return replace(policy, sync=replace(policy.sync, **changes))

    note, signers = note_of(by, reason), signers_of(repo, keys)
    repository.change_policy(repo, signers, channel, change, note, "when")
    say(repo, channel, as_json)


def _hours(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    begin, dash, end = text.partition("-")
    if not (dash and begin.isdecimal() and end.isdecimal()):
        raise click.UsageError(f"--quiet-hours {text!r}: expected two hours, such as 22-7.")
    return int(begin), int(end)
