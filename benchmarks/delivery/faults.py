"""Claim: a kill -9 at any step of a publish, an install or a sync loses nothing.

Each scenario is a job in a fork that kills itself before its n-th step, for n = 0, 1, ... until one
gets through; a step is a call that changes the disk or reads from the network (`STEPS` here and in
`kill_steps.py`). After each kill a phone must answer from a release that passes all checks, a
phone without anything must be able to install what the repository offers, and the next sync must
bring the newest release and every event to the server. Releases are those of `tiny_bundle.py`, with
ONNX models that the self-test replays; the server is a real process. Repetitions: one a step.
"""

import os
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import urllib3
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, Options, Result
from benchmarks.support import command_line
from benchmarks.support.kill_steps import asked, forked
from pocketrec_bundle.disk.files import sha256_file
from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_bundle.settings.rollout import RolloutPolicy
from pocketrec_edge.device import Device
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.releases import selftest
from pocketrec_edge.releases.store import Store
from pocketrec_edge.sync.client import sync
from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle
from pocketrec_server.repository.keys import Signers, load_signers, make_keys
from pocketrec_server.repository.publish import (
    change_policy,
    found_repository,
    publish,
    read_policy,
    refresh,
)
from pocketrec_server.repository.rollout import find, rolled_back
from pocketrec_server.repository.state import exists
from pocketrec_training.monitoring.progress import Progress

STEPS: tuple[tuple[Any, str], ...] = (
    (os, "replace"),
    (os, "remove"),
    (os, "symlink"),
    (os, "fchmod"),
    (shutil, "copyfile"),
    (Path, "write_bytes"),
    (EventLog, "next_batch"),
    (EventLog, "acknowledge"),
    (urllib3.PoolManager, "request"),
    (urllib3.HTTPResponse, "read1"),
)
EVENTS = 3
OF_SERVER = shutil.ignore_patterns("server.*")  # goes on while a template takes its place


NAMES = ("zero", "one", "two", "three")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A job to kill.

    repo, phone: templates that the job finds; newest: the release that a sync must end with once
    the job has been repeated; makes: whether the job is the publisher's, else it is the phone's;
    events: whether the phone has some to send.
    """

    repo: str
    phone: str
    newest: str
    makes: bool
    events: bool = False
    job: Callable[["World"], object]


SCENARIOS: dict[str, Scenario] = {
    "first publish": Scenario(
        repo="empty", phone="zero", newest="one", makes=True, job=lambda w: w.first()
    ),
    "publish with deltas": Scenario(
        repo="one", phone="one", newest="two", makes=True, job=lambda w: w.publish("two")
    ),
    "publish, old deltas go": Scenario(
        repo="two", phone="two", newest="three", makes=True, job=lambda w: w.publish("three", 1)
    ),
    "roll back": Scenario(
        repo="three", phone="three", newest="two", makes=True, job=lambda w: w.roll_back()
    ),
    "new dates": Scenario(
        repo="one", phone="one", newest="one", makes=True, job=lambda w: refresh(w.repo, w.signers)
    ),
    "first sync": Scenario(
        repo="one", phone="zero", newest="one", makes=False, job=lambda w: w.sync()
    ),
    "update by deltas": Scenario(
        repo="two", phone="one", newest="two", makes=False, job=lambda w: w.sync()
    ),
    "update, the oldest goes": Scenario(
        repo="three", phone="two", newest="three", makes=False, job=lambda w: w.sync()
    ),
    "a killed release goes": Scenario(
        repo="back", phone="three", newest="two", makes=False, job=lambda w: w.sync()
    ),
    "resumed download": Scenario(
        repo="two", phone="parts", newest="two", makes=False, job=lambda w: w.sync()
    ),
    "events up": Scenario(
        repo="one", phone="one", newest="one", makes=False, job=lambda w: w.sync(), events=True
    ),
    "install from a folder": Scenario(
        repo="two", phone="zero", newest="two", makes=False, job=lambda w: w.install("two")
    ),
}


@dataclass(slots=True)
class Tally:
    """Outcomes of a scenario's kills; stuck: the next sync did not install the release."""

    kill_points: int = 0
    lost: int = 0
    unanswered: int = 0
    stuck: int = 0


def run(options: Options, every: int = 1) -> Result:
    """Kill each scenario's job at each step, or at every so-many-th."""
    world = World(options.work)
    tallies: dict[str, Tally] = {}
    with (
        command_line.server(world.repo, options.work) as url,
        Progress("faults", len(SCENARIOS)) as bar,
    ):
        world.url = url  # the server made the repository's folder
        world.make_templates()
        for done, (name, scenario) in enumerate(SCENARIOS.items()):
            bar.advance(done, name)
            tallies[name] = world.kill(scenario, every)
    rows: list[dict[str, Cell]] = [{"job": name, **asdict(each)} for name, each in tallies.items()]
    names = [each.name for each in fields(Tally)]
    figures = {name: float(sum(getattr(t, name) for t in tallies.values())) for name in names}
    show(rows, figures)
    return Result(name="faults", seed=options.seed, rows=rows, figures=figures)


def replay(bundle: Bundle) -> int:
    """The self-test of these phones, which run ONNX."""
    return selftest.replay(bundle, "onnx")


class World:
    """A served repository and a phone, both put back to a template before each kill."""

    def __init__(self, work: Path) -> None:
        shutil.rmtree(work, ignore_errors=True)
        self._work = work
        self.repo: Path = work / "repo"
        self.phone: Path = work / "phone"
        self.url = ""
        self.repo.mkdir(parents=True)
        make_keys(work / "keys")
        self.signers: Signers = load_signers(work / "keys")
        # In a fork: making models loads much that every later fork would carry along.
        if forked(self._make_releases, None) != 0:
            raise command_line.ChildFailedError("faults: a release could not be made; see above.")
        self._sha = {name: sha256_file(self._release(name) / "manifest.json") for name in NAMES}

    def _make_releases(self) -> None:
        for at, name in enumerate(NAMES):
            write_tiny_bundle(self._release(name), answers=True, name=name, changed=2 * at)

    def first(self) -> str:
        """Be the publisher who founds the repository."""
        if not exists(self.repo):
            found_repository(self.repo, self.signers)
        return self.publish("one")

    def publish(self, name: str, keep: int = 3) -> str:
        """Be the publisher."""
        return publish(self._release(name), self.repo, self.signers, "stable", keep=keep).release

    def roll_back(self) -> str:
        """Be the publisher who wants every phone back on release two."""

        def change(policy: RolloutPolicy) -> RolloutPolicy:
            stage = find(policy, "two")
            is_done = stage == policy.releases[0]
            return policy if is_done else rolled_back(policy, stage, 100, kill=True)

        return change_policy(self.repo, self.signers, "stable", change).channel

    def install(self, name: str) -> str:
        """Be a phone that gets a release as a folder."""
        return Store(self.phone / "store").install_bundle(self._release(name), replay)

    def sync(self, home: str = "phone") -> str | None:
        """Be a phone that syncs; the release that it ends with."""
        root = self._work / "1.root.json"
        return sync(self._work / home, self.url, replay, root_path=root).to_release

    def make_templates(self) -> None:
        """Publish, install and sync undisturbed; keep each state that a scenario begins with."""
        self._keep("repo", "empty")
        asked(lambda: self.install("zero"))
        self._keep("phone", "zero")
        for name in NAMES[1:]:
            asked(self.first if name == "one" else partial(self.publish, name))
            self._keep("repo", name)
            if name == "one":
                shutil.copy(self.repo / "metadata" / "1.root.json", self._work)
            asked(self.sync)
            self._keep("phone", name)
        asked(self.roll_back)
        self._keep("repo", "back")
        self._put("phone", "zero")
        here = Store(self.phone / "store").files
        for entry in open_bundle(self._release("two")).manifest.files:
            if not (here / entry.sha256).exists():
                data = (self._release("two") / "files" / entry.sha256).read_bytes()
                (here / f".{entry.sha256}.part").write_bytes(data[: len(data) // 2])
        self._keep("phone", "parts")

    def kill(self, scenario: Scenario, every: int) -> Tally:
        """Kill a scenario's job before each step, or every so-many-th, and look what is left."""
        tally, n, code = Tally(), 0, -signal.SIGKILL
        while code == -signal.SIGKILL:
            self._put("repo", scenario.repo)
            self._put("phone", scenario.phone)
            events = self._log_events() if scenario.events else []
            code = forked(lambda: scenario.job(self), n, *STEPS)
            if code not in (0, -signal.SIGKILL):
                raise command_line.ChildFailedError(f"faults: step {n}: the job failed; see above.")
            tally.kill_points += code != 0
            tally.unanswered += not asked(self._answers)
            if scenario.makes:
                tally.stuck += not self._fresh_phone_gets(scenario)
                tally.stuck += forked(lambda: scenario.job(self), None) != 0
            tally.stuck += asked(self.sync) != self._sha[scenario.newest]
            tally.unanswered += not asked(self._answers)
            tally.lost += len(set(events) - self._on_server())
            n += every
        return tally

    def _answers(self) -> bool:
        """Whether the phone's release passes all checks and its models make a slate."""
        bundle, fault = Store(self.phone / "store").open_active()
        phone = Device(self.phone, engine="onnx")
        slate = phone.recommend()
        phone.close()
        return fault is None and bundle is not None and slate.source == "model"

    def _fresh_phone_gets(self, scenario: Scenario) -> bool:
        """Whether a phone without anything gets the old or the new release, if there is one."""
        if not exists(self.repo) or not read_policy(self.repo, "stable").releases:
            return scenario.repo == "empty"
        shutil.rmtree(self._work / "fresh", ignore_errors=True)
        fits = {self._sha[name] for name in (scenario.repo, scenario.newest) if name != "empty"}
        return asked(lambda: self.sync("fresh")) in fits

    def _log_events(self) -> list[str]:
        log = EventLog(PhoneHome(self.phone).event_log)
        log.set_consent(True)
        now = int(time.time())  # old events would be dropped
        made = [log.append(f"item {n}", "like", ts=now) for n in range(EVENTS)]
        log.close()
        return made

    def _on_server(self) -> set[str]:
        with closing(sqlite3.connect(self.repo / "server.sqlite")) as database:
            return {row[0] for row in database.execute("SELECT id FROM event")}

    def _release(self, name: str) -> Path:
        return self._work / "releases" / name

    def _keep(self, what: str, name: str) -> None:
        """Make a template of the present state."""
        shutil.copytree(
            self._work / what, self._work / f"{what}s" / name, ignore=OF_SERVER, symlinks=True
        )

    def _put(self, what: str, name: str) -> None:
        """Replace the present state by a template."""
        for path in (self._work / what).iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif not path.name.startswith("server."):
                path.unlink()
        source = self._work / f"{what}s" / name
        shutil.copytree(source, self._work / what, dirs_exist_ok=True, symlinks=True)


def show(rows: list[dict[str, Cell]], figures: dict[str, float]) -> None:
    """Print the table."""
    table = Table(title="Killed at every step", title_justify="left")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="left" if name == "job" else "right")
    for row in rows:
        table.add_row(*map(str, row.values()))
    console = Console(width=None if sys.stdout.isatty() else 130)
    console.print(table)
    for name, value in figures.items():
        console.print(f"{name} {value:,.0f}")
