"""The whole line on MovieLens-100K, through the command line, with a phone that loses its network.

Claim: on a fresh machine with two cores, two tables become a signed release of a few MB that three
phones sync once and then use with the server gone; a changed catalogue follows without retraining.
Data: MovieLens-100K. Peers: the simple methods of `training/baselines/` (in the evaluation).
Repetitions: 300 recommendations per engine for the latencies; everything else runs once.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console

from benchmarks.harness import Options, Result
from benchmarks.support import command_line, phones
from benchmarks.support.cold_start import added_film
from benchmarks.support.demo import demo_table, demo_verdict
from pocketrec_bundle.errors import InputError, PocketRecError

RECIPE = Path(__file__).parent.parent / "recipes" / "ml100k.toml"
REPETITIONS = 300
LIKED_PLACE = 2  # index in the slate of what each user likes: the third line
WIDTH = 100  # columns if the output is not a terminal
MARK = ".pocketrec-demo"
TABLE = "table.txt"
SLOW = ("data", "train", "evaluate", "export")
ENGINES = ("litert", "onnx")

# Younger than the data set, so certainly unknown to the models.
ADDED = {
    "item_id": "toy-story-2",
    "title": "Toy Story 2",
    "categories": ["Animation", "Children's", "Comedy"],
    "price": None,
    "year": 1999,
}


@dataclass(slots=True)
class Line:
    """The folders of one run, its console, and the seconds of each step."""

    work: Path
    console: Console
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str, says: str) -> Iterator[None]:
        """Announce a step and time it."""
        self.console.rule(f"[bold]{name}[/bold]  {says}", align="left")
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started
        self.console.print(f"[dim]{name}: {self.seconds[name]:.1f} s[/dim]")

    def say(self, sentence: str) -> None:
        """Print a sentence on one line."""
        self.console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def show(self, *words: str | Path) -> None:
        """Run one command, its progress visible, and print its result as it is."""
        told = " ".join(str(word) for word in words)
        self.console.print(f"$ pocketrec {told}", style="bold cyan", markup=False, soft_wrap=True)
        text = command_line.call(*words, shows_progress=words[0] in SLOW)
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def empty(work: Path) -> Path:
    """Make the work folder, emptied if an earlier run made it; nobody else's folder is touched."""
    if work.exists() and any(work.iterdir()):
        if not (work / MARK).exists():
            raise InputError(
                f"{work}: holds files that no demo wrote. Give an empty --work folder."
            )
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    (work / MARK).touch()
    return work


def run(
    options: Options,
    recipe: Path = RECIPE,
    repetitions: int = REPETITIONS,
    console: Console | None = None,
) -> Result:
    """Do all of it; prints as it goes and ends with a verdict; returns the table and the figures.

    The whole table is written to `table.txt` of the work folder.
    """
    line = Line(
        empty(options.work), console or Console(width=None if sys.stdout.isatty() else WIDTH)
    )
    build(line, options, Path(os.path.relpath(recipe)))
    bundle = line.work / "bundle"
    publish(line, bundle)
    owners = phones.typical_users(line.work / "data" / "interactions.parquet")
    fleet = [
        phones.set_up(line.work / "data" / "interactions.parquet", user, line.work / "phones")
        for user in owners
    ]
    first = sync(line, fleet, "first sync")
    slates = recommend_offline(line, fleet)
    withdrawn = slates[0][0]
    changed = change_catalogue(line, bundle, withdrawn)
    publish(line, changed)
    second = sync(line, fleet, "second sync")
    added = show_change(line, fleet, slates, withdrawn)
    latency = {each: measure(line, fleet[-1], each, repetitions) for each in ENGINES}
    found = demo_table.Found(
        work=line.work,
        seconds=line.seconds,
        first=first,
        second=second,
        latency=latency,
        added=added,
        title=str(ADDED["title"]),
    )
    rows = demo_table.rows(found)
    demo_table.write(line.work / TABLE, rows)
    demo_verdict.show(line.console, found, line.work / TABLE, fleet[0].home)
    return Result(name="demo", seed=options.seed, rows=rows, figures=demo_table.figures(found))


def build(line: Line, options: Options, recipe: Path) -> None:
    """Tables, models, evaluation, bundle."""
    work = line.work
    source: tuple[str | Path, ...] = ("--source", options.data) if options.data else ()
    budget = ("--minutes", str(options.minutes)) if options.minutes else ()
    with line.step("data", "two tables, checked and cleaned"):
        line.show("data", recipe, "--out", work / "data", *source)
    with line.step("train", "two towers and a ranker, on this processor"):
        line.show("train", recipe, "--data", work / "data", "--out", work / "run", *budget)
    with line.step("evaluate", "beside tuned simple methods"):
        line.show("evaluate", work / "run", "--data", work / "data", "--out", work / "report")
    with line.step("export", "every variant beside Keras, the smallest that are right"):
        line.show("export", work / "run", "--out", work / "bundle")
    with line.step("inspect", "what the phone will get"):
        line.show("inspect", work / "bundle")
    with line.step("keys", "Ed25519 keys that sign releases"):
        line.show("keys", "make", "--out", work / "keys", "--plain")
    with line.step("repo init", "a repository that trusts these keys"):
        line.show("repo", "init", "--repo", work / "repo", "--keys", work / "keys")


def publish(line: Line, bundle: Path) -> None:
    """Sign a bundle and put it on the stable channel."""
    with line.step(f"publish {bundle.name}", "signed, on channel stable"):
        words = ("--repo", line.work / "repo", "--keys", line.work / "keys", "--channel", "stable")
        line.show("publish", bundle, *words)


def sync(line: Line, fleet: Sequence[phones.Phone], name: str) -> dict[str, float]:
    """Start the server, sync every phone, sync the last one again, end the server.

    Returns:
        Bytes of one phone's sync (the largest), of a sync that finds nothing new, and seconds.
    """
    root = line.work / "repo" / "metadata" / "1.root.json"
    with line.step(name, "server up, phones sync, server gone"):
        with command_line.server(line.work / "repo", line.work) as url:
            reports = [phone.sync(url, "--root", root) for phone in fleet]
            idle = fleet[-1].sync(url, "--root", root)
        refuse_if_answering(url)
        for phone, report in zip(fleet, reports, strict=True):
            line.console.print(
                f"user {phone.user_id}: {report['status']}, {report['bytes_down']:,} bytes,"
                f" {report['files_fetched']} files, {report['seconds']:.2f} s"
            )
        line.console.print(f"and once more: {idle['status']}, {idle['bytes_down']:,} bytes")
    return {
        "bytes": max(float(str(each["bytes_down"])) for each in reports),
        "idle_bytes": float(str(idle["bytes_down"])),
        "seconds": max(float(str(each["seconds"])) for each in reports),
    }


def refuse_if_answering(url: str) -> None:
    """Make sure that the server is really gone."""
    where = urlsplit(url)
    try:
        socket.create_connection((where.hostname or "", where.port or 0), timeout=1).close()
    except OSError:
        return
    raise PocketRecError(f"{url} still answers after the server process ended.")


def recommend_offline(line: Line, fleet: Sequence[phones.Phone]) -> list[list[phones.Suggestion]]:
    """Top ten of every phone before and after a like, the server gone and sockets refused."""
    slates = []
    with line.step("offline", "no server, every socket refused"):
        for phone in fleet:
            before = phone.recommend()
            liked = before[min(LIKED_PLACE, len(before) - 1)]
            phone.like(liked.item_id)
            after = phone.recommend()
            title = f"user {phone.user_id} ({phone.n_events} events) likes {liked.title}"
            phones.show(line.console, title, before, after)
            slates.append(after)
    return slates


def change_catalogue(line: Line, bundle: Path, withdrawn: phones.Suggestion) -> Path:
    """Add one film, withdraw the one on top of the first user's slate; no training."""
    changes = line.work / "changes.json"
    changes.write_text(json.dumps({"add": [ADDED], "withdraw": [withdrawn.item_id]}))
    out = line.work / "bundle-changed"
    with line.step("catalogue", f"adds {ADDED['title']}, withdraws {withdrawn.title}"):
        words = ("--catalogue", changes, "--base", bundle, "--out", out)
        line.show("export", "--run", line.work / "run", *words)
    return out


def show_change(
    line: Line,
    fleet: Sequence[phones.Phone],
    slates: Sequence[Sequence[phones.Suggestion]],
    withdrawn: phones.Suggestion,
) -> added_film.Found:
    """Show that the withdrawn film is gone and that the added one is usable at once."""
    with line.step("offline again", "server gone; the withdrawn film too"):
        for phone, before in zip(fleet, slates, strict=True):
            title = f"user {phone.user_id}, before and after the catalogue changed"
            after = phone.recommend()
            if [each.item_id for each in after] == [each.item_id for each in before]:
                line.console.print(f"{title}: the same")
            else:
                phones.show(line.console, title, before, after)
            if withdrawn.item_id in {each.item_id for each in after}:
                raise PocketRecError(f"{withdrawn.title} was withdrawn, yet it is recommended.")
    with line.step("new film", f"{ADDED['title']}, known by its content alone"):
        return show_added(line, fleet)


def show_added(line: Line, fleet: Sequence[phones.Phone]) -> added_film.Found:
    """Show for whom the added film is a candidate, and what one like of it changes.

    Likes of other films are only assumed: all phones keep the history that they had.
    """
    item_id, title = str(ADDED["item_id"]), str(ADDED["title"])
    at_once, later, kept, beside = 0, 0, [], []
    for phone in fleet:
        near = added_film.siblings(phone, item_id)
        stands = added_film.standing(phone, item_id)
        at_once += stands.is_candidate
        line.say(f"user {phone.user_id}: {stands.sentence(title)}")
        for n in range(1, len(near) + 1):
            if stands.is_candidate:
                break
            stands = added_film.standing(phone, item_id, [film.item_id for film in near[:n]])
            likes = ", ".join(film.title for film in near[:n])
            line.say(f"  after a like of {likes}: {stands.sentence(title)}")
        later += stands.is_candidate
        kept.append(added_film.kept(phone, item_id))
        beside.append(added_film.kept(phone, near[0].item_id))
        line.say(
            f"  one like of {title} keeps {kept[-1]} of the ten films in the slate, one of"
            f" {near[0].title} {beside[-1]}"
        )
    first = fleet[0]
    before = first.recommend()
    first.like(item_id)
    phones.show(line.console, f"user {first.user_id} likes {title}", before, first.recommend())
    return added_film.Found(
        phones=len(fleet),
        at_once=at_once,
        after_siblings=later,
        kept_added=added_film.mean(kept),
        kept_sibling=added_film.mean(beside),
    )


def measure(line: Line, phone: phones.Phone, engine: str, repetitions: int) -> demo_table.Latency:
    """Time recommendations in a process of their own, all sockets refused."""
    with line.step(f"latency {engine}", f"{repetitions} slates in one offline process"):
        words = (
            "-m",
            "benchmarks.support.children.latency",
            str(phone.home),
            engine,
            str(repetitions),
        )
        done = subprocess.run(  # noqa: S603
            [sys.executable, *words], capture_output=True, text=True
        )
        if done.returncode != 0:
            raise command_line.ChildFailedError(f"timing {engine}: {done.stderr.strip()}")
        found = json.loads(done.stdout)
        if found["source"] != "model" or found["engine"] != engine:
            raise command_line.ChildFailedError(
                f"{engine}: {found['engine']} answered, by {found['source']}; nothing to time."
            )
    return demo_table.Latency(first_slate_ms=found["first_slate_ms"], stages=found["stages"])
