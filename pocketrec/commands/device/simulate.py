"""`pocketrec device simulate`: a fleet of phones on this machine."""

import json
import tempfile
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketrec.commands.device.options import ENGINE, JSON, server
from pocketrec.finite import FiniteRange
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.reader import manifest_of

if TYPE_CHECKING:
    from pocketrec.commands.device.simulate_guardrails import Guardrails
    from pocketrec_edge.simulator.device_profiles import DeviceClass
    from pocketrec_edge.simulator.fleet import ClassLife
    from pocketrec_edge.simulator.plan import Plan

_MINUTES = 60.0
_SYNC_EVERY_MIN = 60.0


@click.command(
    epilog="Example: pocketrec device simulate --bundle work/bundle --devices 20 --minutes 60"
)
@click.option("--bundle", type=click.Path(path_type=Path), help="Release that ships with the app.")
@server("Sync server to follow, as http://127.0.0.1:8080.")
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Trusted root, for --server.",
)
@click.option("--channel", default="stable", show_default=True, help="Release channel.")
@click.option(
    "--devices", type=click.IntRange(1, 100_000), default=8, show_default=True, help="Phones."
)
@click.option("--classes", type=click.Path(path_type=Path), help="TOML table of device classes.")
@click.option("--only", multiple=True, metavar="NAME", help="Of these classes only; repeatable.")
@click.option(
    "--minutes",
    type=FiniteRange(min=0, min_open=True),
    help="Simulated minutes of each phone.  [default: 60; of an experiment: all of it]",
)
@click.option(
    "--sync-every",
    type=FiniteRange(min=1),
    help="Simulated minutes between two syncs.  [default: 60; with an experiment 1440]",
)
@click.option(
    "--opens-per-day",
    type=FiniteRange(min=0, min_open=True),
    help="How often a user opens the app.  [default: 144; with an experiment 2]",
)
@click.option("--anytime", is_flag=True, help="Sync on metered networks and battery, too.")
@click.option("--consent", is_flag=True, help="Users agree that events are sent.")
@click.option("-k", type=click.IntRange(1, 1000), help="Items wanted; default: the release's.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of users and networks.")
@click.option("--experiment", metavar="ID", help="Compare its report with the truth.")
@click.option("--repo", type=click.Path(path_type=Path), help="What --server serves; for events.")
@click.option(
    "--lift",
    "lifts",
    multiple=True,
    metavar="ARM=LIFT",
    help="Users in this arm click more: 0.2 is 20%; repeatable.",
)
@click.option(
    "--networks",
    type=click.IntRange(1, 1 << 14),
    default=1,
    show_default=True,
    help="Networks that the phones send from; more than 1 on Linux only.",
)
@click.option(
    "--keys",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Folder of the brake's key: look at guardrails after each simulated day; repeatable.",
)
@click.option("--work", type=click.Path(path_type=Path), help="Keep the phones' homes here.")
@ENGINE
@JSON
@click.pass_context
def simulate(
    context: click.Context,
    bundle: Path | None,
    server: str | None,
    root: Path | None,
    channel: str,
    devices: int,
    classes: Path | None,
    only: tuple[str, ...],
    minutes: float | None,
    sync_every: float | None,
    opens_per_day: float | None,
    anytime: bool,
    consent: bool,
    k: int | None,
    seed: int,
    experiment: str | None,
    repo: Path | None,
    lifts: tuple[str, ...],
    networks: int,
    keys: tuple[Path, ...],
    work: Path | None,
    engine: str,
    as_json: bool,
) -> None:
    """Let a fleet of phones live for some minutes, and print what each class did.

    Every phone is the real runtime with its own log and store; time, users, networks and batteries
    are simulated. It syncs only when unmetered and charging, unless told otherwise. Exit code 1 if
    a phone was left without an answer though it had a release.

    With --experiment the phones live from its begin to its end, sync at any time and send their
    events; the report of the experiment is then shown beside the truth of the user model. With
    --keys the guardrails of the experiment are looked at after each simulated day, as a server with
    these keys does; phones leave a halted arm at their next sync.
    """
    from pocketrec.commands.device import simulate_experiment as of_experiment
    from pocketrec.commands.device.simulate_guardrails import guardrails_of
    from pocketrec.commands.device.simulate_table import MODELS, show
    from pocketrec_edge.simulator.device_profiles import BUILT_IN, counts, read_classes
    from pocketrec_edge.simulator.loopback_networks import check_networks
    from pocketrec_edge.simulator.plan import START_UTC, Plan
    from pocketrec_edge.simulator.report import summarise
    from pocketrec_edge.simulator.user_model import OPENS_PER_HOUR

    if bundle is None and server is None:
        raise InputError("nothing to run: give --bundle, --server or both.")
    if server is not None and root is None:
        raise InputError("--server needs the root that ships with the app: --root 1.root.json.")
    if experiment is not None and (server is None or repo is None):
        raise InputError("--experiment needs --server, and --repo, the repository that it serves.")
    if experiment is None and (lifts or keys or repo is not None):
        raise InputError("--lift, --keys and --repo need --experiment ID.")
    if networks > 1 and server is None:
        raise InputError("--networks needs --server: without one, phones send nothing.")
    check_networks(networks, server or "")
    if bundle is not None:
        manifest_of(bundle)
    if work is not None and work.exists() and any(work.iterdir()):
        raise InputError(f"{work}: is not empty. Give a new folder for the phones' homes.")
    kinds = read_classes(classes or BUILT_IN, only)
    numbers = counts(kinds, devices)
    signed, start_utc = None, START_UTC
    usual = _MINUTES, _SYNC_EVERY_MIN, OPENS_PER_HOUR * 24
    if experiment is not None and repo is not None:
        signed = of_experiment.find_experiment(repo, channel, experiment)
        start_utc = signed.from_utc
        length_min = (signed.until_utc - signed.from_utc) / 60
        usual = length_min, of_experiment.SYNC_EVERY_MIN, of_experiment.OPENS_PER_DAY
    stated = of_experiment.read_lifts(lifts, signed) if signed is not None else {}
    guardrails = None
    if signed is not None and repo is not None and server is not None:
        of_experiment.check_server(server, repo)
        guardrails = guardrails_of(repo, channel, signed, keys, networks)
    minutes = usual[0] if minutes is None else minutes
    plan = Plan(
        bundle=str(bundle) if bundle else None,
        server=server,
        root=str(root) if root else None,
        channel=channel,
        engine=engine,
        minutes=minutes,
        anytime=anytime or signed is not None,
        sync_every_min=usual[1] if sync_every is None else sync_every,
        consent=consent or signed is not None,
        seed=seed,
        k=k,
        start_utc=start_utc,
        opens_per_hour=(usual[2] if opens_per_day is None else opens_per_day) / 24,
        experiment=experiment,
        flags={} if signed is None else of_experiment.flag_defaults(signed),
        appeal={arm: 1 + value for arm, value in stated.items()},
        syncs_at_end=signed is not None,
        networks=networks,
    )
    found = None
    with nullcontext(work) if work else tempfile.TemporaryDirectory() as folder:
        homes = Path(folder)
        homes.mkdir(parents=True, exist_ok=True)
        lives = _run(kinds, numbers, plan, homes, guardrails, keep=work is not None)
        reports = [
            summarise(kind, life.results, life.peak_bytes)
            for kind, life in zip(kinds, lives, strict=True)
        ]
        if signed is not None and repo is not None:
            results = [result for life in lives for result in life.results]
            of_experiment.check_entered(results, signed)
            looks = [] if guardrails is None else guardrails.looks_after(minutes)
            report = of_experiment.measure(repo, channel, signed, homes / "events")
            found = of_experiment.compare(results, signed, stated, report, looks)
    unanswered = sum(each.unanswered for each in reports)
    told: dict[str, Any] = {
        "devices": devices,
        "minutes": minutes,
        "seed": seed,
        "passed": not unanswered,
        "models": MODELS,
        "classes": [asdict(each) for each in reports],
    }
    if found is not None:
        told["experiment"] = asdict(found)
    if as_json:
        click.echo(json.dumps(told))
    else:
        show(reports)
        if found is not None:
            of_experiment.show(found)
    if unanswered:
        click.echo(f"{unanswered} requests had no answer though a release was installed", err=True)
        context.exit(1)


def _run(
    kinds: "list[DeviceClass]",
    numbers: list[int],
    plan: "Plan",
    homes: Path,
    guardrails: "Guardrails | None",
    *,
    keep: bool,
) -> "list[ClassLife]":
    """Run the phones of all classes, with a pause for each look at guardrails."""
    from pocketrec_edge.simulator.fleet import run_fleet
    from pocketrec_training.monitoring.progress import Progress

    pauses = [] if guardrails is None else guardrails.pauses(plan.minutes)
    steps = sum(numbers) * (len(pauses) + 1)
    with Progress("days of phones" if pauses else "phones", steps) as progress:
        done = iter(range(1, steps + 1))
        return run_fleet(
            zip(kinds, numbers, strict=True),
            plan,
            homes,
            keep=keep,
            on_phone=lambda: progress.advance(next(done)),
            pauses=pauses,
            on_pause=(lambda _: None) if guardrails is None else guardrails.look,
        )
