"""Views of the settings of an experiment: a form, a confirmation with both values, the change."""

import time
from typing import Any, cast

from flask import Blueprint, abort, g, redirect, request, url_for

from pocketrec_bundle.errors import InputError, PocketRecError
from pocketrec_bundle.settings.experiment import ID
from pocketrec_bundle.settings.experiment_arms import METRICS
from pocketrec_bundle.settings.rollout import CHANNEL
from pocketrec_server.admin.edits import EditPreview
from pocketrec_server.admin.experiments import edits
from pocketrec_server.admin.experiments.actions import find_experiment, insist_on_operator
from pocketrec_server.admin.experiments.edits import ExperimentEdit
from pocketrec_server.admin.experiments.steps import version_of
from pocketrec_server.admin.operations import EDIT, MAX_REASON
from pocketrec_server.admin.services import services
from pocketrec_server.auth import audit
from pocketrec_server.auth.sessions import Session
from pocketrec_server.errors import KeysInvalidError
from pocketrec_server.experiments import signing
from pocketrec_server.experiments.halted_arms import halts_of
from pocketrec_server.http.openapi import TEXT, Schema, described, record
from pocketrec_server.repository.history import Note, line

_PLACE: dict[str, Schema] = {
    "channel": {"type": "string", "pattern": f"^{CHANNEL.pattern}$"},
    "experiment": {"type": "string", "pattern": f"^{ID.pattern}$"},
}
_SETTINGS: dict[str, Schema] = {
    name: {"type": "string", "maxLength": edits.MAX_FIELD} for name in edits.FIELDS
}


def add(routes: Blueprint) -> None:
    """Add the views to the site."""
    routes.get("/experiments/edit")(edit_experiment)
    routes.get("/experiments/edit/confirm")(confirm_experiment_edit)
    routes.post("/experiments/edits")(save_experiment)


@described(
    "A form with the settings of an experiment.",
    tag="site",
    ok="text/html",
    query=_PLACE,
    more={303: "Log in first."},
    pages=(400, 403, 404, 503),
)
def edit_experiment() -> str:
    """Show the form of an experiment's settings."""
    return _form(_read(request.args.get))


@described(
    "The effect of new settings of an experiment, and a form to confirm them.",
    tag="site",
    ok="text/html",
    query=_PLACE | _SETTINGS,
    more={303: "Log in first."},
    pages=(400, 403, 404, 503),
)
def confirm_experiment_edit() -> Any:
    """Show the effect of new settings and ask for a reason, or show the form again."""
    return _confirm(_read(request.args.get))


@described(
    "Sign confirmed settings of an experiment, and redirect to the experiments.",
    tag="site",
    ok="text/html",
    status=303,
    form=record(
        optional=tuple(_SETTINGS), csrf=TEXT, version=TEXT, reason=TEXT, **(_PLACE | _SETTINGS)
    ),
    pages=(400, 403, 404, 409, 413, 415, 503),
)
def save_experiment() -> Any:
    """Sign confirmed settings, then show the experiments."""
    requested = _read(request.form.get)
    reason, version = request.form.get("reason", "").strip(), request.form.get("version", "")
    if not reason:
        return _confirm(requested, version, "Enter a reason for the history.")
    if len(reason) > MAX_REASON:
        abort(400, f"a reason has at most {MAX_REASON} characters")
    if _preview(requested).version != version:
        name = requested.experiment
        abort(409, f"{name} was changed after this page was loaded, so nothing was done.")
    try:
        number = _sign(requested, reason)
    except PocketRecError as err:
        channel, name = requested.channel, requested.experiment
        back = url_for(".edit_experiment", channel=channel, experiment=name)
        return services().pages.problem(409, str(err), back=back, back_label="Check it again")
    return redirect(url_for(".experiments", done=number), 303)


def _sign(requested: ExperimentEdit, reason: str) -> int:
    """Sign new settings; return the number in the audit log."""
    shared, token = services(), cast(Session, g.session).token
    channel, name, shown = requested.channel, requested.experiment, _preview(requested)
    details = {"release": name, "from": shown.before, "to": shown.after, "reason": reason}
    subject = f"{channel} {name}"
    with audit.noted(shared.engine, token, "experiment-edit", subject, **details) as number:
        one = find_experiment(channel, name)
        if not shown.may:
            command = requested.command(one, reason)
            raise KeysInvalidError(f"the server has no key for this; run: {command}")
        note = Note(by=line(f"{token.name} (site)"), reason=line(reason))
        signers, changed = shared.operations.signers, requested.changed(one)
        signing.edit(shared.repo, signers, channel, name, changed, note)
    return number


def _preview(requested: ExperimentEdit) -> EditPreview:
    """Return the effect of new settings. Raises InputError if they are not valid."""
    shared = services()
    found = signing.read_experiments(shared.repo, requested.channel)
    one = find_experiment(requested.channel, requested.experiment)
    before, after = edits.difference(one, requested.after(found, int(time.time())))
    return EditPreview(
        before=before,
        after=after,
        version=version_of(one, halts_of(shared.repo, requested.channel, one)),
        may=shared.operations.may(EDIT, requested.channel),
        command=requested.command(one, ""),
    )


def _confirm(requested: ExperimentEdit, version: str = "", problem: str = "") -> Any:
    """Render the effect of new settings; bad or unchanged ones give their form with status 400."""
    find_experiment(requested.channel, requested.experiment)
    try:
        preview = _preview(requested)
    except InputError as err:
        return _form(requested, str(err)), 400
    if preview.before == preview.after:
        return _form(requested, "These are the current settings: nothing changes."), 400
    place = {"channel": requested.channel, "experiment": requested.experiment}
    page = services().pages.show(
        "confirm_edit",
        here="edit_experiment",
        channel=requested.channel,
        name=requested.experiment,
        target=url_for(".save_experiment"),
        hidden=place | dict(requested.fields),
        back=url_for(".experiments"),
        preview=preview,
        version=version or preview.version,
        problem=problem,
        longest=MAX_REASON,
    )
    return page, 400 if problem else 200


def _form(requested: ExperimentEdit, problem: str = "") -> str:
    """Render the form with the current settings, or with those that were sent."""
    one = find_experiment(requested.channel, requested.experiment)
    fields = dict(requested.fields) if problem else edits.texts(one)
    return services().pages.show(
        "edit_experiment", requested=requested, fields=fields, problem=problem, metrics=METRICS
    )


def _read(get: Any) -> ExperimentEdit:
    """Read channel, experiment and settings; respond 400 or 403 if not valid or allowed."""
    insist_on_operator()
    channel, name = get("channel") or "", get("experiment") or ""
    if not CHANNEL.fullmatch(channel) or not ID.fullmatch(name):
        abort(400, "channel and experiment must be names")
    try:
        return edits.read(channel, name, get)
    except InputError as err:
        abort(400, str(err))
