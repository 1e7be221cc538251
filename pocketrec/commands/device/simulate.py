"""`pocketrec device simulate`: a fleet of phones on this machine."""

import json
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketrec.commands.device.options import ENGINE, JSON, server
from pocketrec.finite import FiniteRange
from pocketrec_bundle.errors import InputError

if TYPE_CHECKING:
    from pocketrec_edge.simulator.report import ClassReport

WIDTH = 140
"""Columns if the output goes to a file or pipe."""
MODELS = (
    "ms: measured here x cpu_slowdown; sync s: the class's network; both are models. "
    "resident MiB: measured here, Python and the engine included."
)


@click.command(
    epilog="Example: pocketrec device simulate --bundle work/bundle --devices 20 --minutes 60"
)
@click.option("--bundle", type=click.Path(path_type=Path), help="Release that ships with the app.")
@server("Sync server to follow, as http://127.0.0.1:8080.")
@click.option("--root", type=click.Path(path_type=Path), help="Trusted root, for --server.")
@click.option("--channel", default="stable", show_default=True, help="Release channel.")
@click.option(
    "--devices", type=click.IntRange(1, 100_000), default=8, show_default=True, help="Phones."
)
@click.option("--classes", type=click.Path(path_type=Path), help="TOML table of device classes.")
@click.option("--only", multiple=True, metavar="NAME", help="Of these classes only; repeatable.")
@click.option(
    "--minutes",
    type=FiniteRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Simulated minutes of each phone.",
)
@click.option(
    "--sync-every",
    type=FiniteRange(min=1),
    default=60.0,
    show_default=True,
    help="Simulated minutes between two looks for a new release.",
)
@click.option("--anytime", is_flag=True, help="Sync on metered networks and battery, too.")
@click.option("--consent", is_flag=True, help="Users agree that events are sent.")
@click.option("-k", type=click.IntRange(1, 1000), help="Items wanted; default: the release's.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of users and networks.")
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
    minutes: float,
    sync_every: float,
    anytime: bool,
    consent: bool,
    k: int | None,
    seed: int,
    work: Path | None,
    engine: str,
    as_json: bool,
) -> None:
    """Let a fleet of phones live for some minutes, and print what each class did.

    Every phone is the real runtime with its own log and store; time, users, networks and batteries
    are simulated. It syncs only when unmetered and charging, unless told otherwise. Exit code 1 if
    a phone was left without an answer though it had a release.
    """
    from pocketrec_edge.simulator.device_profiles import BUILT_IN, counts, read_classes
    from pocketrec_edge.simulator.device_session import Plan
    from pocketrec_edge.simulator.fleet import run_class
    from pocketrec_edge.simulator.report import summarise
    from pocketrec_training.monitoring.progress import Progress

    if bundle is None and server is None:
        raise InputError("nothing to run: give --bundle, --server or both.")
    if server is not None and root is None:
        raise InputError("--server needs the root that ships with the app: --root 1.root.json.")
    if work is not None and work.exists() and any(work.iterdir()):
        raise InputError(f"{work}: is not empty. Give a new folder for the phones' homes.")
    kinds = read_classes(classes or BUILT_IN, only)
    numbers = counts(kinds, devices)
    plan = Plan(
        bundle=str(bundle) if bundle else None,
        server=server,
        root=str(root) if root else None,
        channel=channel,
        engine=engine,
        minutes=minutes,
        anytime=anytime,
        sync_every_min=sync_every,
        consent=consent,
        seed=seed,
        k=k,
    )
    reports: list[ClassReport] = []
    with (
        nullcontext(work) if work else tempfile.TemporaryDirectory() as folder,
        Progress("phones", devices) as progress,
    ):
        homes = Path(folder)
        homes.mkdir(parents=True, exist_ok=True)
        done = iter(range(1, devices + 1))
        for kind, n in zip(kinds, numbers, strict=True):
            lives, peak = run_class(
                kind,
                n,
                plan,
                homes,
                keep=work is not None,
                on_result=lambda: progress.advance(next(done)),
            )
            reports.append(summarise(kind, lives, peak))
    unanswered = sum(each.unanswered for each in reports)
    told: dict[str, Any] = {
        "devices": devices,
        "minutes": minutes,
        "seed": seed,
        "passed": not unanswered,
        "models": MODELS,
        "classes": [asdict(each) for each in reports],
    }
    if as_json:
        click.echo(json.dumps(told))
    else:
        _show(reports)
    if unanswered:
        click.echo(f"{unanswered} requests had no answer though a release was installed", err=True)
        context.exit(1)


def _show(reports: "list[ClassReport]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    for each in reports:
        table.add_column(each.name, justify="right")
    for name, values in _rows(reports):
        table.add_row(name, *map(Text, values))  # a release may be called "[b]"
    console.print(table)
    for each in reports:
        for fault, n in each.faults.items():
            click.echo(f"fault: {each.name}, {n} times: {fault}", err=True)
    click.echo(MODELS, err=True)


def _rows(reports: "list[ClassReport]") -> list[tuple[str, list[str]]]:
    def ms(value: float | None) -> str:
        return "-" if value is None else f"{value:.1f}"

    def named(found: dict[str, int]) -> str:
        return "\n".join(f"{name} {n:,}" for name, n in found.items()) or "-"

    return [
        ("devices", [f"{each.devices:,}" for each in reports]),
        ("requests", [f"{each.requests:,}" for each in reports]),
        ("answered by", [named(each.sources) for each in reports]),
        ("without an answer", [f"{each.unanswered:,}" for each in reports]),
        ("slower than here", [f"x {each.cpu_slowdown:g}" for each in reports]),
        ("slate ms, p50", [ms(each.p50_ms) for each in reports]),
        ("slate ms, p99", [ms(each.p99_ms) for each in reports]),
        ("app to first slate ms", [ms(each.first_slate_ms) for each in reports]),
        (
            "resident MiB / allowed",
            [f"{each.resident_mib:.0f} / {each.memory_mib:g}" for each in reports],
        ),
        ("would be killed", ["yes" if each.would_be_killed else "no" for each in reports]),
        ("releases at the end", [named(each.releases) for each in reports]),
        ("syncs", [f"{each.syncs:,}" for each in reports]),
        ("syncs put off", [named(each.put_off) for each in reports]),
        ("kB down", [f"{each.bytes_down / 1000:,.0f}" for each in reports]),
        ("sync s, all phones", [f"{each.sync_s:,.1f}" for each in reports]),
        ("acts / events logged", [f"{each.acts:,} / {each.events:,}" for each in reports]),
        ("events sent", [f"{each.events_sent:,}" for each in reports]),
        ("faults", [f"{sum(each.faults.values()):,}" for each in reports]),
    ]
