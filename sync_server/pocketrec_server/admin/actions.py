"""Views behind the site's buttons: a confirmation page that asks for a reason, then the action.

The page carries the version of the channel's state that it shows. If the channel was changed since,
the action is refused, because the operator decided on an outdated state.
"""

from typing import Any, cast
from urllib.parse import urlencode

from flask import Blueprint, abort, g, redirect, request, url_for

from pocketrec_bundle.errors import InputError, PocketRecError
from pocketrec_bundle.settings.rollout import CHANNEL, SHA256
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


def add(routes: Blueprint) -> None:
    """Add the two views to the site."""
    routes.get("/confirm")(confirm)
    routes.post("/actions")(act)


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
