"""Simulated phones: device homes that hold a real user's history, and what they show."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

from benchmarks.support import command_line
from pocketrec_bundle.errors import InputError
from pocketrec_edge.events.event import INTERACTION, Event
from pocketrec_edge.events.log import EventLog

WEEK_S = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One line of a slate as the phone shows it."""

    item_id: str
    title: str
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Phone:
    """A device home and the user whose history it holds."""

    user_id: str
    home: Path
    n_events: int

    def sync(self, url: str, *options: str | Path) -> dict[str, object]:
        """Fetch the newest release; returns the report of `pocketrec device sync`."""
        return command_line.call_json(
            "device", "sync", "--home", self.home, "--server", url, *options
        )

    def recommend(self, k: int = 10) -> list[Suggestion]:
        """Ask for the top `k` in a process that refuses every socket."""
        found = command_line.call_json(
            "device", "recommend", "--home", self.home, "--offline", "-k", str(k)
        )
        if found["source"] != "model":
            raise command_line.ChildFailedError(
                f"user {self.user_id}: answered by {found['source']} only."
            )
        return [
            Suggestion(
                str(each["item_id"]), str(each["title"]), float(each["score"]), str(each["reason"])
            )
            for each in found["items"]
        ]

    def like(self, item_id: str) -> None:
        """Log a like, as a tap in the app would."""
        command_line.call("device", "feedback", "--home", self.home, item_id, "--event", "like")


def typical_users(interactions: Path, shares: Sequence[float] = (0.25, 0.5, 0.75)) -> list[str]:
    """Users at these quantiles of history length: no favourites picked by hand."""
    users = duckdb.execute(
        "SELECT user_id FROM read_parquet(?) GROUP BY user_id ORDER BY count(*), user_id",
        [str(interactions)],
    ).fetchall()
    if len(users) < len(shares):
        raise InputError(f"{interactions}: {len(users)} users, the demo needs {len(shares)}.")
    return [str(users[int(share * (len(users) - 1))][0]) for share in shares]


def history(interactions: Path, user_id: str, now_utc: int) -> list[Event]:
    """A user's events, moved forward by whole weeks so that the last lies in the past week.

    The data set is from the 1990s; hours, weekdays and gaps stay as they were.
    """
    rows = duckdb.execute(
        "SELECT item_id, event, value, ts FROM read_parquet(?) WHERE user_id = ? ORDER BY ts",
        [str(interactions), user_id],
    ).fetchall()
    shift = (now_utc - int(rows[-1][3])) // WEEK_S * WEEK_S
    return [
        Event(
            id=str(uuid.uuid4()),
            kind=INTERACTION,
            item_id=str(item),
            event=str(event),
            value=value,
            ts=int(ts) + shift,
            context={},
        )
        for item, event, value, ts in rows
    ]


def set_up(interactions: Path, user_id: str, homes: Path) -> Phone:
    """Make a phone whose event log holds the user's history."""
    home = homes / f"user-{user_id}"
    home.mkdir(parents=True)
    events = history(interactions, user_id, int(time.time()))
    log = EventLog(home / "events.sqlite")
    log.append_many(events)
    log.close()
    return Phone(user_id, home, len(events))


def show(
    console: Console, title: str, before: Sequence[Suggestion], after: Sequence[Suggestion]
) -> None:
    """Print two slates side by side; items that only the second has are marked."""
    known = {each.item_id for each in before}
    kept = {each.item_id for each in after}
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("#", justify="right")
    table.add_column("before")
    table.add_column("after")
    for place in range(max(len(before), len(after))):
        left = before[place] if place < len(before) else None
        right = after[place] if place < len(after) else None
        gone = left is not None and left.item_id not in kept
        new = right is not None and right.item_id not in known
        table.add_row(
            str(place + 1),
            "" if left is None else f"[dim]{left.title}[/dim]" if gone else left.title,
            "" if right is None else f"[green]{right.title} (new)[/green]" if new else right.title,
        )
    console.print(table)
