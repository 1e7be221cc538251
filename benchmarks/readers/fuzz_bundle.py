"""Claim: no bundle, however damaged or hostile, does more to a reader than be refused.

Each case is the sound bundle of `tiny_bundle.py`, in either format version, changed in one of the
ways of `mutations/`, and handed to the reader, then to a walk over all that a device touches. It
must end in `BundleInvalidError` with a reason (`refused`) or in the sound bundle's answers
(`accepted_equal`). Where the manifest was made to fit, other numbers are another release, which the
signature must refuse, not the reader: `accepted_other`; a device then answers from it. Another
exception or warning, a case over 5 s of processor time, a process over 1 GiB of address space, or a
death is one of `crashes`. Repetitions: 100,000 cases, or what `--minutes` leaves time for; one
process after the other.
"""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, Options, Result
from benchmarks.support.children.fuzz import READY, VERSIONS
from benchmarks.support.command_line import ChildFailedError
from benchmarks.support.mutations import MUTATORS
from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle
from pocketrec_training.monitoring.progress import Progress

CASES = 100_000
CHILD = [
    "-W",
    "error",
    "-m",
    "benchmarks.support.children.fuzz",
]  # a numeric warning is a crash too
OUTCOMES = ("refused", "accepted_equal", "accepted_other", "crash")
MOST_CRASHES_TOLD = 50


@dataclass(slots=True)
class Tally:
    """Outcomes by mutation, the first crashes in words, and the largest memory seen."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)
    peak_mib: float = 0.0

    def add(self, number: int, verdict: dict[str, Any]) -> None:
        """Count one case."""
        self.outcomes[verdict["kind"], verdict["outcome"]] += 1
        self.peak_mib = max(self.peak_mib, verdict["peak_mib"])
        if verdict["outcome"] == "crash" and len(self.crashes) < MOST_CRASHES_TOLD:
            self.crashes.append(f"case {number}, {verdict['kind']}: {verdict['detail']}")

    def total(self, outcome: str) -> int:
        """Cases that ended so."""
        return sum(n for (_, found), n in self.outcomes.items() if found == outcome)


def run(options: Options, cases: int = CASES) -> Result:
    """Judge mutated bundles; prints the table, and each crash with the case that repeats it."""
    options.work.mkdir(parents=True, exist_ok=True)
    for version in VERSIONS:
        write_tiny_bundle(options.work / f"base-{version}", version)
    end = time.monotonic() + 60 * options.minutes if options.minutes else None
    tally, done = Tally(), 0
    with Progress("fuzz-bundle", cases) as bar:
        for number, verdict in verdicts(options.work, options.seed, cases):
            tally.add(number, verdict)
            done = number + 1
            if done % 100 == 0:
                bar.advance(done, f"{tally.total('crash')} crashes")
            if end is not None and time.monotonic() > end:
                break
    rows: list[dict[str, Cell]] = [
        {"mutation": kind, **{each: tally.outcomes[kind, each] for each in OUTCOMES}}
        for kind in MUTATORS
    ]
    show(rows, tally)
    figures = {
        "cases": done,
        "refused": tally.total("refused"),
        "accepted_equal": tally.total("accepted_equal"),
        "accepted_other": tally.total("accepted_other"),
        "crashes": tally.total("crash"),
        "peak_mib": tally.peak_mib,
    }
    return Result(name="fuzz-bundle", seed=options.seed, rows=rows, figures=figures)


def verdicts(work: Path, seed: int, cases: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run children until all cases are judged; one that dies is the crash of its case."""
    kinds, number = list(MUTATORS), 0
    while number < cases:
        words = [work, seed, number, cases]
        command = [sys.executable, *CHILD, *map(str, words)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603
            assert child.stdout is not None
            try:
                if child.stdout.readline().strip() != READY:
                    raise ChildFailedError(
                        "fuzz-bundle: the sound bundle does not open; see above."
                    )
                for line in child.stdout:
                    yield number, json.loads(line)
                    number += 1
            finally:
                child.kill()
        if number < cases:
            detail = died(child.returncode)
            kind = kinds[number % len(kinds)]
            yield number, {"kind": kind, "outcome": "crash", "detail": detail, "peak_mib": 0.0}
            number += 1


def died(code: int) -> str:
    """What ended a child, in words."""
    if -code in (signal.SIGALRM, signal.SIGPROF):
        return "it hangs"
    return f"the process ended with {signal.Signals(-code).name if code < 0 else code}"


def show(rows: list[dict[str, Cell]], tally: Tally) -> None:
    """Print the table and the crashes."""
    table = Table(title="fuzz-bundle, cases by outcome", title_justify="left")
    for name in ("mutation", *OUTCOMES):
        table.add_column(name, justify="left" if name == "mutation" else "right")
    for row in rows:
        table.add_row(*map(str, row.values()))
    console = Console(file=sys.stdout)
    console.print(table)
    for crash in tally.crashes:
        console.print(crash, markup=False)
