"""The page of experiments: state, arms, devices by arm, bounds, and the buttons to end one."""

import math
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from flask import Blueprint, abort, g, redirect, request, url_for
from sqlalchemy import Engine, case, distinct, func, select

from pocketrec_bundle.errors import InputError, PocketRecError
from pocketrec_bundle.settings.experiment import ID, OPEN, Experiment
from pocketrec_bundle.settings.experiment_arms import Arm
from pocketrec_bundle.settings.rollout import CHANNEL
from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.statistics import sample_ratio, sequential_bounds
from pocketrec_experiments.statistics.metrics import METRICS, Metric
from pocketrec_server.admin.operations import EDIT, EXPERIMENT_ACTIONS, MAX_REASON
from pocketrec_server.admin.services import services
from pocketrec_server.auth import audit
from pocketrec_server.auth.sessions import Session
from pocketrec_server.auth.tokens import OPERATE
from pocketrec_server.errors import KeysInvalidError
from pocketrec_server.experiments import changes, signing
from pocketrec_server.experiments.halted_arms import read_halted_arms
from pocketrec_server.experiments.results import Results, read_results
from pocketrec_server.halting.guard import not_looked_texts, subject_of
from pocketrec_server.halting.looks import latest, text_of
from pocketrec_server.http.openapi import TEXT, Schema, described, record
from pocketrec_server.repository.channel_status import live, name_of
from pocketrec_server.repository.history import Note, line
from pocketrec_server.storage.tables import EVENT

SHIP = "ship"
ALPHA = 0.05
"""Two-sided error rate of all looks at all treatments, the default of the report."""
MOST_LOOKS = 1000
OLD_S = 2 * DAY_S
"""Results of an open experiment that are older get a warning; a report a day is usual."""
_STATES = {"running": ("pause", "stop", "kill"), "paused": ("resume", "stop", "kill")}
_FIELDS: dict[str, Schema] = {
    "channel": {"type": "string", "pattern": f"^{CHANNEL.pattern}$"},
    "experiment": {"type": "string", "pattern": f"^{ID.pattern}$"},
    "action": {"enum": list(EXPERIMENT_ACTIONS)},
    "arm": {"type": "string", "maxLength": 32},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One experiment on the page.

    Attributes:
        one: the signed experiment.
        percent: enrolled share of its segment now, 0..100.
        arms: each arm with what differs, and its exposed devices.
        mismatch: p-value of the sample ratio; None without exposed devices.
        bounds: |z| that decides today and at the end, see `bounds`.
        actions: possible actions, each with an arm or "".
        results: of the last published report; None without one.
        halted: reason by halted arm.
        looks: the latest look at each guardrail, for people.
    """

    one: Experiment
    percent: float
    arms: list[tuple[Arm, str, int]]
    mismatch: float | None
    bounds: tuple[float, float] | None
    actions: list[tuple[str, str]]
    results: Results | None
    halted: dict[str, str]
    looks: list[str]

    @property
    def metric(self) -> Metric | None:
        """The deciding metric of the results."""
        return None if self.results is None else METRICS[self.results.metric]

    @property
    def is_old(self) -> bool:
        """Whether the results lack days although the experiment goes on."""
        seen = None if self.results is None else self.results.computed_utc
        return seen is not None and self.one.state in OPEN and time.time() - seen > OLD_S


def add(routes: Blueprint) -> None:
    """Add the views to the site."""
    routes.get("/experiments")(experiments)
    routes.get("/experiments/confirm")(confirm_experiment)
    routes.post("/experiments/actions")(act_on_experiment)


@described(
    "Experiments of all channels.",
    tag="site",
    ok="text/html",
    query={"done": {"type": "integer"}},
    more={303: "Log in first."},
    pages=(400, 503),
)
def experiments() -> str:
    """Show the experiments of each channel, newest first."""
    shared, now = services(), time.time()
    done = audit.entry(shared.engine, request.args.get("done", 0, type=int))
    channels = []
    for channel in live(shared.repo):
        name = channel.policy.channel
        found = signing.read_experiments(shared.repo, name)
        rows = [_row(one, name, now) for one in found.experiments]
        channels.append((name, found.holdout, rows))
    done = done if done and done.action.startswith("experiment-") else None
    return shared.pages.show("experiments", channels=channels, done=done, now=now)


@described(
    "The effect of an action on an experiment, and a form to confirm it.",
    tag="site",
    ok="text/html",
    query=_FIELDS,
    more={303: "Log in first."},
    pages=(400, 403, 404, 409, 503),
)
def confirm_experiment() -> Any:
    """Show the effect of an action on an experiment, and ask for a reason."""
    return _confirm(*_read(request.args.get))


@described(
    "Sign an action on an experiment, and redirect to the experiments.",
    tag="site",
    ok="text/html",
    status=303,
    form=record(optional=("arm",), csrf=TEXT, reason=TEXT, version=TEXT, **_FIELDS),
    pages=(400, 403, 404, 409, 413, 415, 503),
)
def act_on_experiment() -> Any:
    """Sign an action on an experiment, then show the experiments."""
    channel, name, action, arm = _read(request.form.get)
    reason, version = request.form.get("reason", "").strip(), request.form.get("version", "")
    if not reason:
        return _confirm(channel, name, action, arm, "Enter a reason for the history.")
    if len(reason) > MAX_REASON:
        abort(400, f"a reason has at most {MAX_REASON} characters")
    before = _find(channel, name)
    if _version(before) != version:
        abort(409, f"{name} was changed after this page was loaded, so nothing was done.")
    try:
        number = _sign(channel, before, action, arm, reason)
    except PocketRecError as err:
        back = url_for(".experiments")
        return services().pages.problem(409, str(err), back=back, back_label="Experiments")
    return redirect(url_for(".experiments", done=number), 303)


def _sign(channel: str, before: Experiment, action: str, arm: str, reason: str) -> int:
    """Sign an action; return its number in the audit log."""
    shared, token = services(), cast(Session, g.session).token
    to = f"shipped {arm}" if action == SHIP else f"after {action}"
    details = {"release": before.id, "from": before.state, "to": to, "reason": reason}
    repo, signers = shared.repo, shared.operations.signers
    verb = f"experiment-{action}"
    with audit.noted(shared.engine, token, verb, f"{channel} ", **details) as number:
        if not shared.operations.may(EDIT, channel):
            command = _command(channel, before.id, action, arm, reason)
            raise KeysInvalidError(f"the server has no key for this; run: {command}")
        note = Note(by=line(f"{token.name} (site)"), reason=line(reason))
        if action == SHIP:
            signing.ship(repo, signers, channel, before.id, arm, note)
        else:
            signing.move(repo, signers, channel, before.id, action, note)
    return number


def _confirm(channel: str, name: str, action: str, arm: str, problem: str = "") -> Any:
    shared, one = services(), _find(channel, name)
    found = signing.read_experiments(shared.repo, channel)
    try:
        after = (
            changes.shipped(found, name, arm)[0]
            if action == SHIP
            else changes.moved(found, name, action)
        )
    except InputError as err:
        abort(409, str(err))
    page = shared.pages.show(
        "confirm_experiment",
        channel=channel,
        one=one,
        after=changes.find(after, name),
        action=action,
        arm=arm,
        version=_version(one),
        may=shared.operations.may(EDIT, channel),
        command=_command(channel, name, action, arm, ""),
        problem=problem,
        longest=MAX_REASON,
    )
    return page, 400 if problem else 200


def _read(get: Any) -> tuple[str, str, str, str]:
    """Read channel, experiment, action and arm; respond 400 or 403 if not valid or allowed."""
    if not cast(Session, g.session).token.may(OPERATE):
        abort(403, "Your token can only read. Ask for a token with --scope operate.")
    channel, name, action, arm = (get(key) or "" for key in _FIELDS)
    if not CHANNEL.fullmatch(channel) or not ID.fullmatch(name):
        abort(400, "channel and experiment must be names")
    if action not in EXPERIMENT_ACTIONS or bool(arm) != (action == SHIP):
        abort(400, f"action must be one of {', '.join(EXPERIMENT_ACTIONS)}; ship needs an arm")
    if arm and not ID.fullmatch(arm):
        abort(400, "arm must be a name")
    return channel, name, action, arm


def _find(channel: str, name: str) -> Experiment:
    try:
        return changes.find(signing.read_experiments(services().repo, channel), name)
    except InputError as err:
        abort(404, str(err))


def _version(one: Experiment) -> str:
    """Return a text that changes with the experiment's state, arms and percentage."""
    return f"{one.state} {one.salt} {one.percent:g} {len(one.ramp)} {one.winner or ''}"


def _command(channel: str, name: str, action: str, arm: str, reason: str) -> str:
    words = ["pocketrec", "experiment", action, name, *([arm] if arm else [])]
    words += ["--reason", reason or "TEXT", "--channel", channel]
    return shlex.join([*words, "--repo", "repo/", "--keys", "keys/"])


def _row(one: Experiment, channel: str, now: float) -> Row:
    shared = services()
    devices = devices_by_arm(shared.engine, one, now)
    actions = [(action, "") for action in _STATES.get(one.state, ())]
    if one.state != "killed":
        actions += [(SHIP, arm.name) for arm in one.arms if arm.name != one.winner]
    return Row(
        one=one,
        percent=one.percent_at(now),
        arms=[(arm, _differs(arm, channel), devices[arm.name]) for arm in one.arms],
        mismatch=mismatch(one, devices),
        bounds=bounds(one, now),
        actions=actions,
        results=read_results(shared.engine, channel, one),
        halted={
            arm.name: why
            for arm in one.arms
            if (why := read_halted_arms(shared.repo, channel).reason(one, arm.name)) is not None
        },
        looks=[
            *(text_of(look) for look in latest(shared.engine, subject_of(channel, one))),
            *not_looked_texts(shared.engine, channel, one),
        ],
    )


def devices_by_arm(engine: Engine, one: Experiment, now: float) -> dict[str, int]:
    """Count the exposed devices of each arm; see `exposed`."""
    names, times = tuple(arm.name for arm in one.arms), (one.from_utc, one.until_utc)
    return exposed(engine, one.id, one.salt, names, times, int(now) // 60)


def mismatch(one: Experiment, devices: Mapping[str, int]) -> float | None:
    """Return the p-value of the sample ratio; None without exposed devices."""
    counts, shares = [devices[arm.name] for arm in one.arms], [arm.share for arm in one.arms]
    return sample_ratio(counts, shares).p if any(counts) and min(shares) > 0 else None


def bounds(one: Experiment, now: float) -> tuple[float, float] | None:
    """Return |z| that decides today, and at the end, with a look on each day as in the report.

    None before the begin, and for a plan of more than MOST_LOOKS days.
    """
    planned = max(1, math.ceil((one.until_utc - one.from_utc) / DAY_S))
    if now <= one.from_utc or planned > MOST_LOOKS:
        return None
    z = _daily(planned, len(one.arms) - 1)
    return z[min(planned, math.ceil((now - one.from_utc) / DAY_S)) - 1], z[-1]


@lru_cache(maxsize=64)
def _daily(planned: int, treatments: int) -> tuple[float, ...]:
    fractions = [day / planned for day in range(1, planned + 1)]
    return sequential_bounds(fractions, alpha=ALPHA / treatments).z


@lru_cache(maxsize=64)
def exposed(
    engine: Engine,
    name: str,
    salt: str,
    arms: tuple[str, ...],
    times: tuple[int, int],
    _minute: int,
) -> dict[str, int]:
    """Count the devices with consent that were exposed to each arm; cached for a minute.

    Forced devices and exposures of an earlier salt do not count. LIKE finds the keys, because
    PostgreSQL rejects JSON with a NUL character, which an upload may have.

    Args:
        engine: the database.
        name: id of the experiment.
        salt: of the experiment.
        arms: names of its arms.
        times: its begin and end, unix seconds; the end is exclusive.
    """
    column = EVENT.c
    of_arm = [
        func.count(distinct(case((column.context.contains(f'"arm":"{arm}"'), column.install))))
        for arm in arms
    ]
    query = select(*of_arm).where(
        column.kind == "exposure",
        column.event == name,
        column.ts >= times[0],
        column.ts < times[1],
        column.context.contains(f'"salt":"{salt[:8]}"'),
        ~column.context.contains('"forced":true'),
    )
    with engine.connect() as connection:
        counts = connection.execute(query).one()
    return dict(zip(arms, counts, strict=True))


def _differs(arm: Arm, channel: str) -> str:
    """Describe what an arm changes."""
    weights = arm.head_weights or {}
    parts = [
        f"release {name_of(services().repo, channel, arm.release)}" if arm.release else "",
        "rules" if arm.rules is not None else "",
        ", ".join(f"weight {head} {value:g}" for head, value in weights.items()),
        "campaigns" if arm.campaigns is not None else "",
        ", ".join(f"flag {name} = {value}" for name, value in arm.flags.items()),
    ]
    return "; ".join(part for part in parts if part) or "nothing differs"
