"""Views of the buttons of an experiment: a confirmation that asks for a reason, then the change."""

from typing import Any, cast

from flask import Blueprint, abort, g, redirect, request, url_for

from pocketrec_bundle.errors import InputError, PocketRecError
from pocketrec_bundle.settings.experiment import ID, Experiment
from pocketrec_bundle.settings.rollout import CHANNEL
from pocketrec_server.admin.experiments.steps import DANGERS, LABELS, OF_ARM, SHIP, Step, version_of
from pocketrec_server.admin.operations import EXPERIMENT_ACTIONS, HALT, MAX_REASON, UNHALT
from pocketrec_server.admin.services import services
from pocketrec_server.auth import audit
from pocketrec_server.auth.sessions import Session
from pocketrec_server.auth.tokens import OPERATE
from pocketrec_server.errors import KeysInvalidError
from pocketrec_server.experiments import changes, signing
from pocketrec_server.experiments.halted_arms import halt_arm, halts_of, unhalt_arm
from pocketrec_server.http.openapi import TEXT, Schema, described, record
from pocketrec_server.repository.history import Note, line

_FIELDS: dict[str, Schema] = {
    "channel": {"type": "string", "pattern": f"^{CHANNEL.pattern}$"},
    "experiment": {"type": "string", "pattern": f"^{ID.pattern}$"},
    "action": {"enum": list(EXPERIMENT_ACTIONS)},
    "arm": {"type": "string", "maxLength": 32},
}


def add(routes: Blueprint) -> None:
    """Add the views to the site."""
    routes.get("/experiments/confirm")(confirm_experiment)
    routes.post("/experiments/actions")(act_on_experiment)


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
    return _confirm(_read(request.args.get))


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
    step = _read(request.form.get)
    reason, version = request.form.get("reason", "").strip(), request.form.get("version", "")
    if not reason:
        return _confirm(step, version, "Enter a reason for the history.")
    if len(reason) > MAX_REASON:
        abort(400, f"a reason has at most {MAX_REASON} characters")
    before = find_experiment(step.channel, step.experiment)
    halted = halts_of(services().repo, step.channel, before)
    if version_of(before, halted) != version:
        abort(409, f"{before.id} was changed after this page was loaded, so nothing was done.")
    try:
        number = _sign(step, before, halted, reason)
    except PocketRecError as err:
        back = url_for(".experiments")
        return services().pages.problem(409, str(err), back=back, back_label="Experiments")
    return redirect(url_for(".experiments", done=number), 303)


def insist_on_operator() -> None:
    """Respond 403 to a token that can only read."""
    if not cast(Session, g.session).token.may(OPERATE):
        abort(403, "Your token can only read. Ask for a token with --scope operate.")


def find_experiment(channel: str, name: str) -> Experiment:
    """Return an experiment of a channel; respond 404 without it."""
    try:
        return changes.find(signing.read_experiments(services().repo, channel), name)
    except InputError as err:
        abort(404, str(err))


def _sign(step: Step, before: Experiment, halted: dict[str, str], reason: str) -> int:
    """Sign an action; return its number in the audit log."""
    shared, token = services(), cast(Session, g.session).token
    repo, signers = shared.repo, shared.operations.signers
    now, after = step.states(signing.read_experiments(repo, step.channel), halted)
    subject = f"{step.channel} {step.subject}"
    details = {"release": step.subject, "from": now, "to": after, "reason": reason}
    verb = f"experiment-{step.action}"
    with audit.noted(shared.engine, token, verb, subject, **details) as number:
        if not shared.operations.may(step.key, step.channel):
            raise KeysInvalidError(f"the server has no key for this; run: {step.command(reason)}")
        note = Note(by=line(f"{token.name} (site)"), reason=line(reason))
        if step.action == HALT:
            halt_arm(repo, signers, step.channel, before, step.arm, note.reason, by=note.by)
        elif step.action == UNHALT:
            unhalt_arm(repo, signers, step.channel, before, step.arm, note)
        elif step.action == SHIP:
            signing.ship(repo, signers, step.channel, before.id, step.arm, note)
        else:
            signing.move(repo, signers, step.channel, before.id, step.action, note)
    return number


def _confirm(step: Step, version: str = "", problem: str = "") -> Any:
    """Render the confirmation page; an incomplete form passes its `version` again."""
    shared, one = services(), find_experiment(step.channel, step.experiment)
    halted = halts_of(shared.repo, step.channel, one)
    try:
        before, after = step.states(signing.read_experiments(shared.repo, step.channel), halted)
    except InputError as err:
        abort(409, str(err))
    if before == after:
        abort(409, f"{step.subject} is already in this state: {before}.")
    page = shared.pages.show(
        "confirm_experiment",
        step=step,
        before=before,
        after=after,
        label=LABELS[step.action],
        dangers=DANGERS,
        why=halted.get(step.arm, ""),
        version=version or version_of(one, halted),
        may=shared.operations.may(step.key, step.channel),
        problem=problem,
        longest=MAX_REASON,
    )
    return page, 400 if problem else 200


def _read(get: Any) -> Step:
    """Read an action; respond 400 or 403 if it is not valid or not allowed."""
    insist_on_operator()
    channel, name, action, arm = (get(key) or "" for key in _FIELDS)
    if not CHANNEL.fullmatch(channel) or not ID.fullmatch(name):
        abort(400, "channel and experiment must be names")
    if action not in EXPERIMENT_ACTIONS or bool(arm) != (action in OF_ARM):
        with_arm = ", ".join(OF_ARM)
        abort(400, f"action must be one of {', '.join(EXPERIMENT_ACTIONS)}; {with_arm} need an arm")
    if arm and not ID.fullmatch(arm):
        abort(400, "arm must be a name")
    return Step(channel=channel, experiment=name, action=action, arm=arm)
