"""The page of experiments: state, arms, devices by arm, bounds, and the buttons to end one."""

import json
import shlex
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from flask import Blueprint, abort, g, redirect, request, url_for
from sqlalchemy import Engine, select

from pocketrec_bundle.errors import InputError, PocketRecError
from pocketrec_bundle.settings.experiment import ID, Experiment
from pocketrec_bundle.settings.experiment_arms import Arm
from pocketrec_bundle.settings.rollout import CHANNEL
from pocketrec_experiments.statistics import sample_ratio, sequential_bounds
from pocketrec_server.admin.operations import EDIT, EXPERIMENT_ACTIONS, MAX_REASON
from pocketrec_server.admin.services import services
from pocketrec_server.auth import audit
from pocketrec_server.auth.sessions import Session
from pocketrec_server.auth.tokens import OPERATE
from pocketrec_server.errors import KeysInvalidError
from pocketrec_server.experiments import changes, signing
from pocketrec_server.http.openapi import TEXT, Schema, described, record
from pocketrec_server.repository.channel_status import live, name_of
from pocketrec_server.repository.history import Note, line
from pocketrec_server.storage.tables import EVENT

SHIP = "ship"
MOST_EXPOSURES = 200_000
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
        bounds: |z| that decides at a look now, and at the end, two-sided 5%; None before it begins.
        actions: possible actions, each with an arm or "".
    """

    one: Experiment
    percent: float
    arms: list[tuple[Arm, str, int]]
    mismatch: float | None
    bounds: tuple[float, float] | None
    actions: list[tuple[str, str]]


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
    return shared.pages.show("experiments", channels=channels, done=done)


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
    counts = exposed(shared.engine, one.id, one.salt, one.from_utc, int(now) // 60)
    devices = [counts.get(arm.name, 0) for arm in one.arms]
    shares = [arm.share for arm in one.arms]
    testable = any(devices) and min(shares) > 0
    actions = [(action, "") for action in _STATES.get(one.state, ())]
    if one.state != "killed":
        actions += [(SHIP, arm.name) for arm in one.arms if arm.name != one.winner]
    return Row(
        one=one,
        percent=one.percent_at(now),
        arms=[(arm, _differs(arm, channel), n) for arm, n in zip(one.arms, devices, strict=True)],
        mismatch=sample_ratio(devices, shares).p if testable else None,
        bounds=bounds(one, now),
        actions=actions,
    )


def bounds(one: Experiment, now: float) -> tuple[float, float] | None:
    """Return |z| that decides at one look now, and then at the end; None before the begin."""
    passed = (now - one.from_utc) / (one.until_utc - one.from_utc)
    if passed <= 0:
        return None
    if passed >= 1:
        (end,) = sequential_bounds([1.0]).z
        return end, end
    now_z, end_z = sequential_bounds([passed, 1.0]).z
    return now_z, end_z


@lru_cache(maxsize=64)
def exposed(engine: Engine, name: str, salt: str, from_utc: int, _minute: int) -> dict[str, int]:
    """Count the devices with consent that were exposed to each arm; cached for a minute.

    Forced devices and exposures of an earlier salt do not count. At most MOST_EXPOSURES are read.
    """
    column = EVENT.c
    query = (
        select(column.install, column.context)
        .where(column.ts >= from_utc, column.kind == "exposure", column.event == name)
        .limit(MOST_EXPOSURES)
    )
    arms: dict[str, set[int]] = {}
    with engine.connect() as connection:
        for install, context in connection.execute(query):
            facts = json.loads(context)
            if facts.get("salt") == salt[:8] and not facts.get("forced"):
                arms.setdefault(str(facts.get("arm")), set()).add(install)
    return {arm: len(installs) for arm, installs in arms.items()}


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
