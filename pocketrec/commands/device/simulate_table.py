"""The table of `pocketrec device simulate`: a column a class of phones."""

import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pocketrec_edge.simulator.report import ClassReport

WIDTH = 140
"""Columns if the output goes to a file or pipe."""
MODELS = (
    "ms: measured here x cpu_slowdown; sync s: the class's network; both are models. "
    "resident MiB: measured here, Python and the engine included."
)


def show(reports: Sequence[ClassReport]) -> None:
    """Print the table on stdout, and faults and the note on models on stderr."""
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


def _rows(reports: Sequence[ClassReport]) -> list[tuple[str, list[str]]]:
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
