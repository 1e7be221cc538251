"""Claim: a fleet stays current: 10,000 devices updated by one server, 1,000 through a bad network.

Every device is a home folder of its own and a real `sync` over loopback against one `pocketrec
serve` process; a few worker processes, as many as there are cores, take turns with them. First all
devices install a release and then an update by deltas, undisturbed. Then `faulty` of them, current,
take another update through `fault_proxy.py`, which damages a fifth of all answers; a device may
need several syncs, as a phone has its next wake-up. bytes_ratio is the bytes of bodies that left
the proxy, per device, over those of a device that met no fault. Last, checks with no news: how many
a second one server process on one core answers, see `check_rates.py`; checks_per_s is the best of
those that kept their connections, and each server's is named.
Data: drawn, see `drawn_release.py`; seed as given. One repetition.
"""

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Options, Result, machine, percentiles
from benchmarks.support import command_line
from benchmarks.support.children.fleet import Synced, peak_mib
from benchmarks.support.drawn_release import Drawn, write_drawn_release
from benchmarks.support.network import check_rates
from benchmarks.support.network.fault_proxy import FaultProxy, Faults
from pocketrec_bundle.disk.files import sha256_file
from pocketrec_bundle.reader import open_bundle
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, publish
from pocketrec_training.monitoring.progress import Progress

DEVICES, FAULTY, RATE_S = 10_000, 1_000, 5.0
ITEMS, DIM, CHANGED = 600, 16, 0.01
AT_ONCE, TRIES = 16, 12

Row = dict[str, Any]


def run(
    options: Options, devices: int = DEVICES, faulty: int = FAULTY, rate_s: float = RATE_S
) -> Result:
    """Update a fleet without faults, then a part of it with them, and count checks a second.

    Args:
        options: of the command.
        devices: of the fleet.
        faulty: how many of them meet faults.
        rate_s: seconds that each way to check is measured.
    """
    fleet, rows = Fleet(options), []
    release = fleet.publish()
    with command_line.server_process(fleet.repo, options.work) as (url, server):
        rows.append(fleet.sync("install", url, range(devices), release))
        release = fleet.publish()
        rows.append(fleet.sync("update", url, range(devices), release))
        release = fleet.publish()
        with FaultProxy(url, options.seed, Faults(share=0.0)) as proxy:
            last = range(devices - 1, devices)
            rows.append(fleet.sync("one, no faults", proxy.url, last, release))
            ideal_bytes = proxy.body_bytes
        with FaultProxy(url, options.seed, Faults(drip_s=0.001)) as proxy:
            rows.append(fleet.sync("faults", proxy.url, range(faulty), release, TRIES))
            answers, sent_bytes = proxy.done, proxy.body_bytes
        server_mib = peak_mib(server)
    fleet.forget()  # hundreds of thousands of small files
    rates = check_rates.measure(fleet.repo, options.work, rate_s)
    update, harmed = rows[1], rows[3]
    figures = {
        "devices": float(devices),
        "converged": float(update["converged"]),
        "failed": float(sum(row["failed"] for row in rows)),
        "by_delta_share": update["by_delta"] / update["files"],
        "faulty_devices": float(faulty),
        "faulty_converged": float(harmed["converged"]),
        "fault_share": 1 - answers["none"] / answers.total(),
        "bytes_ratio": sent_bytes / faulty / ideal_bytes,
        "most_tries": float(harmed["most_tries"]),
        "worker_mib": max(row["worker_mib"] for row in rows),
        "server_mib": server_mib,
        **check_rates.figures(rates),
    }
    show(rows, rates, answers, figures)
    return Result(name="fleet", seed=options.seed, rows=[*rows, *rates], figures=figures)


class Fleet:
    """A repository and the homes of its devices, both empty at first."""

    def __init__(self, options: Options) -> None:
        work = options.work
        self.repo, self._homes, self._work = work / "repo", work / "homes", work
        for folder in (self.repo, self._homes, work / "keys"):  # of a run before
            shutil.rmtree(folder, ignore_errors=True)
        make_keys(work / "keys")
        self._signers = load_signers(work / "keys")
        found_repository(self.repo, self._signers)
        self._seed, self._n, self._items = options.seed, 0, Drawn.of(ITEMS, DIM, options.seed)

    def forget(self) -> None:
        """Remove the devices' homes."""
        shutil.rmtree(self._homes)

    def publish(self) -> str:
        """Publish the next release, in which rows and prices of some items differ; its hash."""
        self._n += 1
        base = None
        if self._n > 1:
            base = open_bundle(self._work / f"release-{self._n - 1}")
            seed = self._seed + self._n
            self._items = self._items.with_rows(CHANGED, seed).with_prices(CHANGED, seed)
        folder = self._work / f"release-{self._n}"
        write_drawn_release(folder, self._items, folder.name, base, answers=True)
        publish(folder, self.repo, self._signers, "stable")
        return sha256_file(folder / "manifest.json")

    def sync(self, name: str, url: str, devices: range, release: str, tries: int = 1) -> Row:
        """Sync some devices, shared out among as many processes as there are cores."""
        started, peaks, found = time.monotonic(), [], []
        with Progress(name, len(devices)) as bar:
            for line in self._told(url, devices, tries):
                if "peak_mib" in line:
                    peaks.append(line["peak_mib"])
                else:
                    found.append(Synced(**line))
                    bar.advance(len(found))
        right = [each for each in found if each.release == release]
        for each in found:
            if each.release != release:
                print(f"{name}: device {each.device}: {each.error}", file=sys.stderr)
        seconds = time.monotonic() - started
        return {
            "part": name,
            "devices": len(devices),
            "converged": len(right),
            "failed": len(devices) - len(right),
            "most_tries": max(each.tries for each in found),
            "files": sum(each.files for each in right),
            "by_delta": sum(each.by_delta for each in right),
            "bytes_each": sum(each.bytes_down for each in right) / max(1, len(right)),
            "p99_s": percentiles([each.seconds for each in found])["p99"],
            "worker_mib": max(peaks),
            "wall_s": seconds,
        }

    def _told(self, url: str, devices: range, tries: int) -> Iterator[dict[str, Any]]:
        """Run the processes; what they print, as it comes."""
        job = {
            "homes": str(self._homes),
            "url": url,
            "root": str(self.repo / "metadata" / "1.root.json"),
            "tries": tries,
            "at_once": AT_ONCE,
        }
        shares = np.array_split(devices, min(len(devices), int(machine()["cores"])))
        command = [sys.executable, "-m", "benchmarks.support.children.fleet"]
        with ExitStack() as stack:
            running = []
            for share in shares:
                words = json.dumps(job | {"first": int(share[0]), "stop": int(share[-1]) + 1})
                child = subprocess.Popen([*command, words], stdout=subprocess.PIPE, text=True)  # noqa: S603
                stack.enter_context(child)
                stack.callback(child.kill)
                running.append(child)
            with ThreadPoolExecutor(len(running)) as readers:
                lines: SimpleQueue[str | None] = SimpleQueue()
                for child in running:
                    assert child.stdout is not None  # a pipe
                    readers.submit(_forward, child.stdout, lines)
                left = len(running)
                while left:
                    line = lines.get()
                    if line is None:
                        left -= 1
                    else:
                        yield json.loads(line)
            if any(child.wait() for child in running):
                raise command_line.ChildFailedError("fleet: a worker process failed; see above.")


def _forward(lines: Iterable[str], to: "SimpleQueue[str | None]") -> None:
    for line in lines:
        to.put(line)
    to.put(None)


def show(
    rows: list[Row], rates: list[Row], answers: Counter[str], figures: dict[str, float]
) -> None:
    """Print the parts, the rates, what the proxy did, and the figures."""
    console = Console(width=None if sys.stdout.isatty() else 130)
    for title, each in (("Fleet", rows), ("Checks with no news", rates)):
        table = Table(title=title, title_justify="left")
        for name in each[0]:
            table.add_column(name.replace("_", " "), justify="right")
        for row in each:
            table.add_row(*(f"{v:,.2f}" if isinstance(v, float) else f"{v}" for v in row.values()))
        console.print(table)
    console.print("answers:", ", ".join(f"{name} {n}" for name, n in answers.most_common()))
    for name, value in figures.items():
        console.print(f"{name} {value:,.2f}")
