"""A month of a small fleet, for looking at the admin site: real publishes, servers and syncs.

    python -m benchmarks.support.pictures.admin_demo --out docs/images    screenshots, by Chromium
    python -m benchmarks.support.pictures.admin_demo                      a server, until Enter

Only the days are pretended: after each, what the database counted for today moves a day back. Two
experiments follow, see `admin_experiments.py`. `--keep DIR` uses a month again that DIR has. The
drawn releases have no model card; `--release` adds a real one.
"""

import argparse
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, text

from benchmarks.support import command_line
from benchmarks.support.drawn_release import Drawn, write_drawn_release
from benchmarks.support.network.loopback_networks import from_network
from benchmarks.support.pictures import admin_experiments
from benchmarks.support.pictures.chromium import Tab, find_chromium, open_tab
from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_bundle.settings.rollout import FailureLimit, RolloutPolicy
from pocketrec_bundle.units import DAY_S
from pocketrec_edge.errors import SelfTestFailedError
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.sync.client import sync
from pocketrec_server.auth import tokens
from pocketrec_server.repository.keys import Signers, load_signers, make_keys
from pocketrec_server.repository.publish import (
    change_policy,
    found_repository,
    publish,
    read_halts,
    read_policy,
)
from pocketrec_server.repository.rollout import changed
from pocketrec_server.storage.database import default_url, open_database

DAYS, PHONES, ITEMS, DIM = 28, 24, 20_000, 32
MOVED = ("outcome_day", "served_day", "rejected_day")
PAGES = ("", "releases", "experiments", "fleet", "history", "notifications")
SCREENS = ((1200, "light"), (1200, "dark"), (390, "light"), (390, "dark"))
MOST_HIGH = 1400
LIVED = "lived"
"""File that marks a work folder whose month and experiments are complete."""


@dataclass(slots=True)
class Fleet:
    """One month: a repository, the releases that follow each other, and phones."""

    work: Path
    address: str
    signers: Signers
    engine: Engine
    rng: random.Random
    items: Drawn
    base: Bundle | None = None
    broken: str = ""
    releases: int = 0

    @property
    def repo(self) -> Path:
        return self.work / "repo"

    def publish(self, channel: str, percent: float = 100.0, name: str = "") -> None:
        """Publish the next catalogue, with some items and prices changed."""
        self.releases += 1
        self.items = self.items.with_rows(0.01, self.releases).with_prices(0.05, self.releases)
        folder = self.work / f"bundle-{self.releases}"
        named = name or f"catalogue-{self.releases}"
        write_drawn_release(folder, self.items, named, self.base, answers=True)
        self.base = open_bundle(folder)
        publish(folder, self.repo, self.signers, channel, percent=percent, keep=1)

    def promote(self, channel: str, percent: float) -> None:
        """Put the newest release on another channel, or offer it to more devices."""
        newest = self.work / f"bundle-{self.releases}"
        publish(newest, self.repo, self.signers, channel, percent=percent, keep=1)

    def stage(self, channel: str, percent: float) -> None:
        def more(policy: RolloutPolicy) -> RolloutPolicy:
            return changed(policy, policy.releases[0], percent=percent)

        change_policy(self.repo, self.signers, channel, more)

    def limit(self, channel: str) -> None:
        """Let the newest release be halted when it fails on many devices."""

        def limited(policy: RolloutPolicy) -> RolloutPolicy:
            limit = FailureLimit(of=5, share=0.3)
            return changed(policy, policy.releases[0], most_failures=limit)

        change_policy(self.repo, self.signers, channel, limited)

    def live_a_day(self, day: int) -> None:
        """Some phones are used and sync; then the day is over."""
        now = int(time.time()) - (DAYS - 1 - day) * DAY_S
        for phone in range(PHONES):
            if self.rng.random() < 0.85:
                self._sync(phone, now)
        time.sleep(6)  # the server stores what it served every few seconds
        if day < DAYS - 1:
            with self.engine.begin() as connection:
                for table in MOVED:
                    for step in (-100_000, 99_999):  # so that no two days are the same meanwhile
                        connection.execute(text(f"UPDATE {table} SET day = day + {step}"))  # noqa: S608

    def _sync(self, phone: int, now: int) -> None:
        home = self.work / f"phone-{phone}"
        home.mkdir(exist_ok=True)
        weekend = 1.5 if time.gmtime(now).tm_wday >= 5 else 1.0
        log = EventLog(PhoneHome(home).event_log)
        for _ in range(round(self.rng.gammavariate(2, 6) * weekend)):
            log.append(f"item-{self.rng.randrange(ITEMS):08d}", "like", ts=now)
        log.close()
        channel = "canary" if phone < 8 else "beta" if phone < 13 else "stable"
        root = self.repo / "metadata" / "1.root.json"
        with suppress(SelfTestFailedError), from_network(phone):
            sync(home, self.address, self._accepts, channel=channel, root_path=root, consent=True)

    def _accepts(self, bundle: Bundle) -> None:
        if bundle.manifest.name == self.broken and self.rng.random() < 0.8:
            raise SelfTestFailedError("the golden vectors differ")


def live(work: Path, show: Callable[[str, Path], None], release: Path | None = None) -> None:
    """Live through the month and the experiments, then show the site of the server to `show`."""
    if not (work / LIVED).exists():
        live_a_month(work)
        signers = load_signers(work / "keys")
        admin_experiments.live(work / "repo", work, signers)
        (work / LIVED).touch()
    if release is not None:
        signers = load_signers(work / "keys")
        publish(release, work / "repo", signers, "beta", percent=20, keep=1)
    with command_line.server(work / "repo", work, "--keys", work / "server-keys") as address:
        show(address, work)


def live_a_month(work: Path) -> None:
    """Publish and sync for a month."""
    make_keys(work / "keys")
    server_keys = work / "server-keys"
    server_keys.mkdir()
    for name in ("canary", "snapshot", "timestamp", "brake"):
        shutil.copy(work / "keys" / f"{name}.pem", server_keys)
    repo, signers = work / "repo", load_signers(work / "keys")
    found_repository(repo, signers)
    engine = open_database(default_url(repo))
    with command_line.server(repo, work, "--keys", server_keys) as address:
        items = Drawn.of(ITEMS, DIM, 1)
        fleet = Fleet(work, address, signers, engine, random.Random(5), items)  # noqa: S311
        for day in range(DAYS):
            a_day_of_work(fleet, day)
            fleet.live_a_day(day)
            print(f"day {day + 1} of {DAYS}", flush=True)


def a_day_of_work(fleet: Fleet, day: int) -> None:
    """What the team publishes on a day."""
    if day == 0:
        for channel in ("canary", "beta", "stable"):
            fleet.promote(channel, 100) if fleet.releases else fleet.publish(channel)
    elif day == DAYS - 4:
        fleet.broken = "new-ranker"
        fleet.publish("canary", name="new-ranker")
        fleet.limit("canary")
    elif day % 6 == 2 and day < DAYS - 4:
        fleet.publish("canary")
    elif day % 6 == 3 and day < DAYS - 4:
        fleet.promote("beta", 100)
    elif day % 6 == 4 and day < DAYS - 4:
        fleet.promote("stable", 25)
    elif day % 6 == 5 and day < DAYS - 4:
        fleet.stage("stable", 60 if day > DAYS - 10 else 100)


def photograph(address: str, work: Path, out: Path) -> None:
    """Write PNGs of the pages, wide and narrow, light and dark."""
    engine = open_database(default_url(work / "repo"))
    token, _ = tokens.make(engine, "alice", tokens.OPERATE, 30, int(time.time()))
    out.mkdir(parents=True, exist_ok=True)
    with open_tab(find_chromium() or "chromium") as tab:
        tab.go(f"{address}/admin/login")
        tab.type("#token", token)
        tab.click("button")
        if len(read_halts(work / "repo", "canary").halted) < 2:  # the server halted the first one
            halt_something(tab, address)
        newest = read_policy(work / "repo", "beta").releases[0].manifest
        for name, path in [
            *zip(PAGES, PAGES, strict=True),
            ("release", f"releases/beta/{newest}"),
        ]:
            for width, scheme in SCREENS:
                tab.show_as(width, scheme)
                tab.go(f"{address}/admin/{path}")
                height = tab.run("document.documentElement.scrollHeight")
                tab.show_as(width, scheme, min(height, MOST_HIGH))
                tab.photograph(out / f"admin-{name or 'overview'}-{scheme}-{width}.png")


def halt_something(tab: Tab, address: str) -> None:
    """Press a button and confirm it, so that something was done by hand."""
    tab.go(f"{address}/admin/releases")
    tab.click('a[href*="action=halt"][href*="channel=canary"]')
    tab.type("#reason", "its self-test fails on the testers' phones")
    tab.click(".confirm button")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--keep", type=Path, help="work here, and leave it")
    parser.add_argument("--release", type=Path, help="a bundle to publish on beta, and to show")
    asked = parser.parse_args()

    def show(address: str, work: Path) -> None:
        if asked.out:
            photograph(address, work, asked.out)
        else:
            input(f"{address}/admin/ (Enter ends)")

    if asked.keep:
        live(asked.keep, show, asked.release)
    else:
        with tempfile.TemporaryDirectory() as work:
            live(Path(work), show, asked.release)


if __name__ == "__main__":
    main()
