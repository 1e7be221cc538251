"""Two experiments for the pictures of the admin site: nine days of drawn users, by real uploads.

The users are drawn: one arm is clicked more, another one is slow. Server, export, report and looks
at guardrails are real, so the slow arm is halted, and the verdict is that of the report.
"""

import http.client
import json
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Engine

from benchmarks.support import command_line
from pocketrec_bundle.settings.experiment import Experiment
from pocketrec_bundle.units import DAY_S
from pocketrec_edge.simulator.loopback_networks import address_in
from pocketrec_server.experiments import signing
from pocketrec_server.halting import guard
from pocketrec_server.halting.looks import LATE_S
from pocketrec_server.repository.history import Note
from pocketrec_server.repository.keys import Signers
from pocketrec_server.repository.publish import read_policy
from pocketrec_server.storage.database import default_url, open_database

CHANNEL, DAYS, PLANNED = "stable", 9, 14
USERS, PLACES, CLICK_RATE, FALLBACK_RATE, SLATE_MS = 700, 6, 0.1, 0.04, 38.0
Event = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An experiment and the truth of its arms.

    Attributes:
        plan: as `signing.start` reads it.
        lift: click rate relative to control, by arm.
        slower: latency relative to control, by arm.
    """

    plan: dict[str, Any]
    lift: dict[str, float]
    slower: dict[str, float]


def _mmr(relevance: float) -> dict[str, Any]:
    return {"version": 1, "depth": 100, "rules": [{"kind": "mmr", "relevance": relevance}]}


_GUARDRAILS = [
    {"metric": "slate_ms", "worse_by": 0.2, "alpha": 0.01},
    {"metric": "fallback_share", "worse_by": 0.2, "alpha": 0.01},
]
PLANS = (
    Plan(
        plan={
            "id": "variety",
            "hypothesis": "More variety in a slate gives more clicks",
            "layer": "ranking",
            "guardrails": _GUARDRAILS,
            "arms": [
                {"name": "control", "share": 0.34},
                {"name": "some", "share": 0.33, "rules": _mmr(0.8)},
                {"name": "much", "share": 0.33, "rules": _mmr(0.5)},
            ],
        },
        lift={"some": 1.06},
        slower={"some": 1.1, "much": 1.7},
    ),
    Plan(
        plan={
            "id": "large-cards",
            "hypothesis": "Large cards get more clicks",
            "layer": "cards",
            "percent": 50.0,
            "guardrails": _GUARDRAILS[:1],
            "arms": [
                {"name": "control", "share": 0.5},
                {"name": "large", "share": 0.5, "flags": {"large_cards": True}},
            ],
        },
        lift={"large": 1.3},
        slower={},
    ),
)


def live(repo: Path, work: Path, signers: Signers) -> None:
    """Start the experiments, upload what their users did, look each day, publish the reports."""
    begin = int(time.time()) - DAYS * DAY_S - LATE_S - 60
    until = begin + PLANNED * DAY_S
    engine = open_database(default_url(repo))
    release = read_policy(repo, CHANNEL).releases[0].manifest
    with command_line.server(repo, work, "--no-log") as address:  # without keys it never looks
        for number, each in enumerate(PLANS):
            plan = each.plan | {"until_utc": until}
            note = Note(by="alice@laptop", reason="as discussed on Monday")
            one = signing.start(repo, signers, CHANNEL, plan, note=note, now_utc=begin)
            rng = random.Random(number)  # noqa: S311
            for user in range(USERS):
                events = list(_events_of(rng, each, one, release))
                _upload(address, 1 + user + number * USERS, events)
    _look_and_report(repo, work, engine, signers, begin)
    engine.dispose()


def _look_and_report(repo: Path, work: Path, engine: Engine, signers: Signers, begin: int) -> None:
    for day in range(1, DAYS + 1):
        guard.once(repo, engine, signers, begin + day * DAY_S + LATE_S)
    events = work / "events"
    command_line.call("events", "export", "--repo", repo, "--out", events)
    for each in PLANS:
        words = ("experiment", "report", each.plan["id"], "--events", events, "--metric", "ctr")
        command_line.call(*words, "--channel", CHANNEL, "--repo", repo, "--publish")


def _events_of(rng: random.Random, of: Plan, one: Experiment, release: str) -> Iterator[Event]:
    """Draw one user: the exposure, then slates on about half of the days."""
    arm = rng.choices(one.arms, [each.share for each in one.arms])[0].name
    taste, pace = CLICK_RATE * rng.gammavariate(4, 0.25), rng.gammavariate(9, 1 / 9)
    joined = rng.randrange(3)
    seen = one.from_utc + joined * DAY_S + rng.randrange(3600, DAY_S // 2)
    yield _event("exposure", one.id, seen, {"arm": arm, "salt": one.salt[:8]})
    for day in range(joined, DAYS):
        at = one.from_utc + day * DAY_S + rng.randrange(DAY_S // 2, DAY_S - 600)
        if rng.random() < 0.45:
            continue
        request, session = f"{uuid.UUID(int=rng.getrandbits(128), version=4)}", f"s{day}"
        source = "fallback" if rng.random() < FALLBACK_RATE else "model"
        ms = SLATE_MS * pace * of.slower.get(arm, 1.0) * rng.gammavariate(16, 1 / 16)
        facts = {"release": release[:16], "source": source, "k": PLACES, "ms": round(ms, 1)}
        yield _event("request", "home", at, facts | {"session": session}, name=request)
        for place in range(1, PLACES + 1):
            item = f"item-{rng.randrange(20_000):08d}"
            name, where = f"{request}.{place}", {"request": request, "place": place}
            yield _event("impression", "shown", at, {"propensity": 1.0}, name=name, item=item)
            if rng.random() < taste * of.lift.get(arm, 1.0):
                more = where | {"session": session}
                yield _event("interaction", "click", at + 5 * place, more, item=item)


def _event(
    kind: str, event: str, ts: int, context: dict[str, Any], *, name: str = "", item: str = ""
) -> Event:
    known = {"id": name or uuid.uuid4().hex, "kind": kind, "item_id": item, "event": event}
    return known | {"ts": ts, "context": context}


def _upload(address: str, network: int, events: list[Event]) -> None:
    """Send the events of a user, from a network of their own."""
    place = urlsplit(address)
    assert place.hostname is not None
    source = (address_in(network), 0)
    server = http.client.HTTPConnection(place.hostname, place.port, 30, source_address=source)
    body = {"schema": 1, "batch": str(uuid.uuid4()), "install_id": uuid.uuid4().hex}
    body |= {"consent": True, "events": events}
    server.request("POST", "/v1/events", json.dumps(body), {"Content-Type": "application/json"})
    reply = server.getresponse()
    found = json.loads(reply.read())
    server.close()
    if reply.status != 200 or found["rejected"]:
        raise RuntimeError(f"the server refused events: {found}")
