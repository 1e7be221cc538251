"""What buttons of the site do: a page that asks for a reason, then the action.

The page carries the version of the channel's state that it shows. If the channel was changed since,
the action is refused: somebody decided on what is no longer so.
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
    UNHALT: "Lift the halt",
}
HEADINGS = {
    PERCENT: "Set percent of",
    PAUSE: "Pause",
    RESUME: "Resume",
    KILL: "Kill",
    ROLLBACK: "Roll back to",
    HALT: "Halt",
    UNHALT: "Lift the halt of",
}
EFFECTS = {
    PERCENT: "Phones within the share take the release at their next sync. Phones that have it "
    "keep it.",
    PAUSE: "No further phone takes the release. Phones that have it keep it.",
    RESUME: "Phones take the release again, as far as its percentage allows.",
    KILL: "No phone takes the release. Phones that have it leave it at their next sync: for the "
    "next release of the list that fits, else for the one they had before.",
    ROLLBACK: "This release becomes the first of the channel, for all phones. Phones on a newer "
    "release return to it at their next sync.",
    HALT: "No further phone takes the release. Phones that have it keep it.",
    UNHALT: "Phones take the release again, as far as its percentage allows. From now on only new "
    "outcomes count towards a halt.",
}
_FIELDS = ("channel", "action", "manifest", "percent")
_WANTED: dict[str, Schema] = {
    "channel": {"type": "string", "pattern": f"^{CHANNEL.pattern}$"},
    "action": {"enum": list(ACTIONS)},
    "manifest": {"type": "string", "pattern": f"^{SHA256.pattern}$"},
    "percent": {"type": "number", "minimum": 0, "maximum": 100},
}


def add(routes: Blueprint) -> None:
    """Add the two views to the site."""
    routes.get("/confirm")(confirm)
    routes.post("/actions")(act)


def _confirm_page(wanted: Action, version: str = "", problem: str = "") -> str:
    """Ask; `version` is kept where the form comes back because it was incomplete."""
    found = services().operations.preview(wanted)
    if found.before == found.after:
        abort(409, f"{found.stage.name} on {wanted.channel} is in this state: {found.before}.")
    return services().pages.show(
        "confirm",
        wanted=wanted,
        found=found,
        version=version or found.version,
        label=LABELS[wanted.action],
        heading=f"{HEADINGS[wanted.action]} {found.stage.name}",
        effect=EFFECTS[wanted.action],
        problem=problem,
        longest=MAX_REASON,
    )


@described(
    "What an action would change, and a form that does it.",
    tag="site",
    ok="text/html",
    query=_WANTED,
    more={303: "Log in first."},
    pages=(400, 403, 409, 503),
)
def confirm() -> str:
    """Show what an action would change, and ask for a reason."""
    _insist_on_operator()
    wanted = _read(request.args.get)
    try:
        return _confirm_page(wanted)
    except InputError as err:
        abort(409, str(err))


@described(
    "Do what a person confirmed; the page that follows says what came of it.",
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
    """Do a confirmed action, then show the releases."""
    _insist_on_operator()
    reason, version = request.form.get("reason", "").strip(), request.form.get("version", "")
    if not version:
        abort(400, "the form lacks the version of the state that it was shown for")
    wanted = _read(request.form.get, reason)
    if not reason:
        said = "Give a reason: it goes into the history, for those who come after you."
        try:
            return _confirm_page(wanted, version, said), 400
        except InputError as err:
            abort(409, str(err))
    try:
        number = services().operations.do(cast(Session, g.session).token, wanted, version)
    except ChannelChangedError as err:
        again = {name: request.form[name] for name in _FIELDS if name in request.form}
        link = f"{url_for('.confirm')}?{urlencode(again)}"
        return services().pages.problem(409, str(err), back=link, back_label="Look at it again")
    except PocketRecError as err:
        return services().pages.problem(409, str(err), back=url_for(".releases"))
    return redirect(url_for(".releases", done=number), 303)


def _insist_on_operator() -> None:
    if not cast(Session, g.session).token.may(OPERATE):
        abort(403, "Your token may only read. Ask for one made with --scope operate.")


def _read(get: Any, reason: str = "") -> Action:
    """The action that a form or a query asks for; an answer 400 if it is not one."""
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
