"""The time and memory of `pocketrec experiment report` on millions of events."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.experiments.drawn_events import EXPERIMENT, SALT, START_UTC, Drawn, write_events
from benchmarks.support import command_line
from pocketrec_bundle.settings.experiment import Experiment
from pocketrec_bundle.settings.experiment_arms import Arm, Guardrail
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_bundle.units import DAY_S

DAYS = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTime:
    """One report in a process of its own.

    Attributes:
        events: rows of all four tables.
        seconds: from the start of the process to its end.
        cpu_s: its processor time, which other jobs of the machine change less.
        peak_bytes: resident memory at its highest.
    """

    events: int
    seconds: float
    cpu_s: float
    peak_bytes: int


def report_time(folder: Path, users: int, seed: int) -> ReportTime:
    """Draw an export and report it with the command line."""
    drawn = Drawn(
        users=users,
        days=14,
        past_days=7,
        joining_days=7,
        click_lift={"treatment": 0.05},
        seed=seed,
    )
    counts = write_events(folder / "events", drawn)
    experiment = Experiment(
        id=EXPERIMENT,
        hypothesis="more clicks",
        salt=SALT,
        layer="ranking",
        segment=(0.0, 1.0),
        state="running",
        from_utc=START_UTC,
        until_utc=START_UTC + DAYS * DAY_S,
        arms=(Arm(name="control", share=0.5), Arm(name="treatment", share=0.5)),
        guardrails=(Guardrail(metric="slate_ms", worse_by=0.05, alpha=0.01),),
    )
    signed = folder / "experiments.json"
    signed.write_bytes(Experiments(channel="stable", experiments=(experiment,)).to_bytes())
    words = (
        "experiment",
        "report",
        EXPERIMENT,
        "--events",
        folder / "events",
        "--experiments",
        signed,
    )
    begun = time.perf_counter()
    child = subprocess.Popen(  # noqa: S603
        command_line.argv(*words, "--metric", "ctr", "--out", folder / "report.html"),
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise command_line.ChildFailedError(
            f"`pocketrec experiment report` ended with {child.returncode}."
        )
    return ReportTime(
        events=sum(counts.values()),
        seconds=seconds,
        cpu_s=used.ru_utime + used.ru_stime,
        peak_bytes=used.ru_maxrss * 1024,
    )
