"""Views of the site's buttons and forms: a confirmation that asks for a reason, then the change.

The page carries the version of the channel's state that it shows. If the channel was changed since,
the action is refused, because the operator decided on an outdated state.
"""

from typing import Any, cast
from urllib.parse import urlencode

from flask import Blueprint, abort, g, redirect, request, url_for

from pocketrec_bundle.errors import InputError, PocketRecError
from pocketrec_bundle.settings.rollout import CHANNEL, SHA256
from pocketrec_server.admin import edits
from pocketrec_server.admin.edits import Edit
from pocketrec_server.admin.operations import (
    ACTIONS,
    HALT,
    KILL,
    MAX_REASON,
    PAUSE,
    PERCENT,
    RESUME,
    ROLLBACK,
    UNHALT,
    Action,
)
from pocketrec_server.admin.services import services
from pocketrec_server.auth.sessions import Session
from pocketrec_server.auth.tokens import OPERATE
from pocketrec_server.errors import ChannelChangedError
from pocketrec_server.http.openapi import TEXT, Schema, described, record
from pocketrec_server.repository.publish import read_policy
from pocketrec_server.repository.rollout import find

LABELS = {
    PERCENT: "Set percent",
    PAUSE: "Pause",
    RESUME: "Resume",
    KILL: "Kill",
    ROLLBACK: "Roll back to this",
    HALT: "Halt",
    UNHALT: "End the halt",
}
HEADINGS = {
    PERCENT: "Set percent of",
    PAUSE: "Pause",
    RESUME: "Resume",
    KILL: "Kill",
    ROLLBACK: "Roll back to",
    HALT: "Halt",
    UNHALT: "End the halt of",
}
EFFECTS = {
    PERCENT: "Devices within the percentage install the release at their next sync. Devices that "
    "have it keep it.",
    PAUSE: "No more devices install the release. Devices that have it keep it.",
    RESUME: "Devices within the percentage install the release again.",
    KILL: "No device installs the release. Devices that have it remove it at their next sync: they "
    "switch to the next suitable release of the list, or else to the previous release.",
    ROLLBACK: "This release becomes the newest of the channel, for all devices. Devices on a newer "
    "release return to it at their next sync.",
    HALT: "No more devices install the release. Devices that have it keep it.",
    UNHALT: "Devices within the percentage install the release again. From now on only new "
    "outcomes count towards a halt.",
}
_FIELDS = ("channel", "action", "manifest", "percent")
_QUERY: dict[str, Schema] = {
    "channel": {"type": "string", "pattern": f"^{CHANNEL.pattern}$"},
    "action": {"enum": list(ACTIONS)},
    "manifest": {"type": "string", "pattern": f"^{SHA256.pattern}$"},
    "percent": {"type": "number", "minimum": 0, "maximum": 100},
}

_PLACE: dict[str, Schema] = {key: _QUERY[key] for key in ("channel", "manifest")}
_SETTINGS: dict[str, Schema] = {
    name: {"type": "string", "maxLength": edits.MAX_FIELD}
    for name in (*edits.RELEASE_FIELDS, *edits.SYNC_FIELDS)
}


def add(routes: Blueprint) -> None:
    """Add the views to the site."""
    routes.get("/confirm")(confirm)
    routes.post("/actions")(act)
    routes.get("/edit")(edit)
    routes.get("/edit/confirm")(confirm_edit)
    routes.post("/edits")(save)


def _confirm_page(requested: Action, version: str = "", problem: str = "") -> str:
    """Render the confirmation page; an incomplete form passes its `version` again."""
    preview = services().operations.preview(requested)
    if preview.before == preview.after:
        abort(
            409,
            f"{preview.stage.name} on {requested.channel} is already in this state: "
            f"{preview.before}.",
        )
    return services().pages.show(
        "confirm",
        requested=requested,
        preview=preview,
        version=version or preview.version,
        label=LABELS[requested.action],
        heading=f"{HEADINGS[requested.action]} {preview.stage.name}",
        effect=EFFECTS[requested.action],
        problem=problem,
        longest=MAX_REASON,
    )


@described(
    "The effect of an action, and a form to confirm it.",
    tag="site",
    ok="text/html",
    query=_QUERY,
    more={303: "Log in first."},
    pages=(400, 403, 409, 503),
)
def confirm() -> str:
    """Show the effect of an action, and ask for a reason."""
    _insist_on_operator()
    requested = _read(request.args.get)
    try:
        return _confirm_page(requested)
    except InputError as err:
        abort(409, str(err))


@described(
    "Execute a confirmed action, and redirect to a page with its result.",
    tag="site",
    ok="text/html",
    status=303,
    form=record(
        optional=("percent",),
        csrf=TEXT,
        version=TEXT,
        reason=TEXT,
        **dict.fromkeys(_FIELDS, TEXT),
    ),
    pages=(400, 403, 409, 413, 415, 503),
)
def act() -> Any:
    """Execute a confirmed action, then show the releases."""
    _insist_on_operator()
    reason, version = request.form.get("reason", "").strip(), request.form.get("version", "")
    if not version:
        abort(400, "the form has no version of the channel's state")
    requested = _read(request.form.get, reason)
    if not reason:
        problem = "Enter a reason. The history shows it to other operators."
        try:
            return _confirm_page(requested, version, problem), 400
        except InputError as err:
            abort(409, str(err))
    try:
        number = services().operations.do(cast(Session, g.session).token, requested, version)
    except ChannelChangedError as err:
        again = {name: request.form[name] for name in _FIELDS if name in request.form}
        link = f"{url_for('.confirm')}?{urlencode(again)}"
        return services().pages.problem(409, str(err), back=link, back_label="Check it again")
    except PocketRecError as err:
        return services().pages.problem(409, str(err), back=url_for(".releases"))
    return redirect(url_for(".releases", done=number), 303)


@described(
    "A form with the settings of a release, or, without `manifest`, when devices sync.",
    tag="site",
    ok="text/html",
    query=_PLACE,
    more={303: "Log in first."},
    pages=(400, 403, 404, 503),
)
def edit() -> str:
    """Show the form of a release's settings, or of when devices sync."""
    _insist_on_operator()
    return _edit_page(_read_edit(request.args.get))


@described(
    "The effect of new settings, and a form to confirm them.",
    tag="site",
    ok="text/html",
    query=_PLACE | _SETTINGS,
    more={303: "Log in first."},
    pages=(400, 403, 404, 503),
)
def confirm_edit() -> Any:
    """Show the effect of new settings and ask for a reason, or show the form again."""
    _insist_on_operator()
    return _confirm_edit(_read_edit(request.args.get))


@described(
    "Sign confirmed settings, and redirect to a page with the result.",
    tag="site",
    ok="text/html",
    status=303,
    form=record(
        optional=("manifest", *_SETTINGS),
        csrf=TEXT,
        version=TEXT,
        reason=TEXT,
        **(_PLACE | _SETTINGS),
    ),
    pages=(400, 403, 404, 409, 413, 415, 503),
)
def save() -> Any:
    """Sign confirmed settings, then show the releases."""
    _insist_on_operator()
    requested = _read_edit(request.form.get)
    reason, version = request.form.get("reason", "").strip(), request.form.get("version", "")
    if not reason:
        problem = "Enter a reason. The history shows it to other operators."
        return _confirm_edit(requested, version, problem)
    if len(reason) > MAX_REASON or not version:
        abort(400, f"send a version, and a reason of at most {MAX_REASON} characters")
    back = url_for(".edit", channel=requested.channel, manifest=requested.manifest)
    try:
        token = cast(Session, g.session).token
        number = services().operations.edit(token, requested, version, reason)
    except PocketRecError as err:
        return services().pages.problem(409, str(err), back=back, back_label="Check it again")
    return redirect(url_for(".releases", done=number), 303)


def _edit_page(requested: Edit, problem: str = "") -> str:
    """Render the form with the current settings, or with those that were sent."""
    try:
        policy = read_policy(services().repo, requested.channel)
        fields = edits.texts(policy, requested.manifest)
        name = find(policy, requested.manifest).name if requested.manifest else ""
    except InputError as err:
        abort(404, str(err))
    fields |= requested.fields if problem else {}
    return services().pages.show(
        "edit", requested=requested, fields=fields, name=name, problem=problem
    )


def _confirm_edit(requested: Edit, version: str = "", problem: str = "") -> Any:
    """Render the effect of new settings; bad or unchanged ones give their form with status 400."""
    try:
        preview = services().operations.preview_edit(requested)
    except InputError as err:
        return _edit_page(requested, str(err)), 400
    if preview.before == preview.after:
        return _edit_page(requested, "These are the current settings: nothing changes."), 400
    policy = read_policy(services().repo, requested.channel)
    page = services().pages.show(
        "confirm_edit",
        channel=requested.channel,
        name=find(policy, requested.manifest).name if requested.manifest else "",
        target=url_for(".save"),
        hidden={"channel": requested.channel, "manifest": requested.manifest}
        | dict(requested.fields),
        back=url_for(".releases"),
        preview=preview,
        version=version or preview.version,
        problem=problem,
        longest=MAX_REASON,
    )
    return page, 400 if problem else 200


def _read_edit(get: Any) -> Edit:
    """Read channel, release and settings of a form or a query; respond 400 if not valid."""
    channel, manifest = get("channel") or "", get("manifest") or ""
    if not CHANNEL.fullmatch(channel):
        abort(400, "channel must be a channel's name")
    if manifest and not SHA256.fullmatch(manifest):
        abort(400, "manifest must be 64 hex digits")
    try:
        return edits.read(channel, manifest, get)
    except InputError as err:
        abort(400, str(err))


def _insist_on_operator() -> None:
    if not cast(Session, g.session).token.may(OPERATE):
        abort(403, "Your token can only read. Ask for a token with --scope operate.")


def _read(get: Any, reason: str = "") -> Action:
    """Read the action of a form or a query; respond 400 if it is not valid."""
    value: dict[str, Any] = {name: get(name) for name in ("action", "manifest")}
    if (percent := get("percent")) is not None:
        try:
            value["percent"] = float(percent)
        except ValueError:
            value["percent"] = percent
    try:
        return Action.from_json(get("channel") or "", value | {"reason": reason})
    except PocketRecError as err:
        abort(400, str(err))
