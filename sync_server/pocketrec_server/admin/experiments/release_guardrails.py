"""Views of the guardrails of a channel's releases: a form, a confirmation, the change.

`halting.release_limits` signs them. A guardrail has one of the metrics of experiments, so the form
is that of an experiment's guardrails.
"""

import hashlib
import shlex
from dataclasses import replace
from typing import Any, cast

from flask import Blueprint, abort, g, redirect, request, url_for

from pocketrec_bundle.errors import BundleInvalidError, InputError, PocketRecError
from pocketrec_bundle.settings.experiment_arms import METRICS
from pocketrec_bundle.settings.release_guardrails import ReleaseGuardrails
from pocketrec_bundle.settings.rollout import CHANNEL
from pocketrec_server.admin.edits import MAX_FIELD, EditPreview, digits
from pocketrec_server.admin.experiments.actions import insist_on_operator
from pocketrec_server.admin.experiments.edits import guardrails_of, guardrails_text
from pocketrec_server.admin.operations import EDIT, GUARDRAILS, MAX_REASON
from pocketrec_server.admin.services import services
from pocketrec_server.auth import audit
from pocketrec_server.auth.sessions import Session
from pocketrec_server.errors import KeysInvalidError
from pocketrec_server.halting.release_limits import change_guardrails, read_guardrails, text_of
from pocketrec_server.http.openapi import TEXT, Schema, described, record
from pocketrec_server.repository.history import Note, line

FIELDS = ("guardrails", "days")
_PLACE: dict[str, Schema] = {"channel": {"type": "string", "pattern": f"^{CHANNEL.pattern}$"}}
_SETTINGS: dict[str, Schema] = {name: {"type": "string", "maxLength": MAX_FIELD} for name in FIELDS}
_MOST_DIGITS = 3


def add(routes: Blueprint) -> None:
    """Add the views to the site."""
    routes.get("/guardrails")(edit_guardrails)
    routes.get("/guardrails/confirm")(confirm_guardrails)
    routes.post("/guardrails")(save_guardrails)


@described(
    "A form with the guardrails of a channel's releases.",
    tag="site",
    ok="text/html",
    query=_PLACE,
    more={303: "Log in first."},
    pages=(400, 403, 404, 503),
)
def edit_guardrails() -> str:
    """Show the form of the guardrails of a channel's releases."""
    return _form(*_read(request.args.get))


@described(
    "The effect of new guardrails of releases, and a form to confirm them.",
    tag="site",
    ok="text/html",
    query=_PLACE | _SETTINGS,
    more={303: "Log in first."},
    pages=(400, 403, 404, 503),
)
def confirm_guardrails() -> Any:
    """Show the effect of new guardrails and ask for a reason, or show the form again."""
    return _confirm(*_read(request.args.get))


@described(
    "Sign confirmed guardrails of releases, and redirect to the releases.",
    tag="site",
    ok="text/html",
    status=303,
    form=record(optional=FIELDS, csrf=TEXT, version=TEXT, reason=TEXT, **(_PLACE | _SETTINGS)),
    pages=(400, 403, 404, 409, 413, 415, 503),
)
def save_guardrails() -> Any:
    """Sign confirmed guardrails, then show the releases."""
    channel, fields = _read(request.form.get)
    reason, version = request.form.get("reason", "").strip(), request.form.get("version", "")
    if not reason:
        return _confirm(channel, fields, version, "Enter a reason for the history.")
    if len(reason) > MAX_REASON:
        abort(400, f"a reason has at most {MAX_REASON} characters")
    shared, token, before = services(), cast(Session, g.session).token, _present(channel)
    back = url_for(".edit_guardrails", channel=channel)

    def change(now: ReleaseGuardrails) -> ReleaseGuardrails:
        if _version(now) != version:
            raise InputError(
                f"the guardrails of {channel} were changed after this page was loaded, so nothing "
                "was done."
            )
        return _changed(now, fields)

    try:
        after = _changed(before, fields)
        details = {"from": text_of(before), "to": text_of(after), "reason": reason}
        with audit.noted(shared.engine, token, GUARDRAILS, f"{channel} ", **details) as number:
            if not shared.operations.may(EDIT, channel):
                command = _command(before, after, reason)
                raise KeysInvalidError(f"the server has no key for this; run: {command}")
            note = Note(by=line(f"{token.name} (site)"), reason=line(reason))
            change_guardrails(shared.repo, shared.operations.signers, channel, change, note)
    except PocketRecError as err:
        return shared.pages.problem(409, str(err), back=back, back_label="Check it again")
    return redirect(url_for(".releases", done=number), 303)


def _confirm(channel: str, fields: dict[str, str], version: str = "", problem: str = "") -> Any:
    """Render the effect of new guardrails; bad or unchanged ones give their form with 400."""
    before = _present(channel)
    try:
        after = _changed(before, fields)
    except InputError as err:
        return _form(channel, fields, str(err)), 400
    if before == after:
        return _form(channel, fields, "These are the current guardrails: nothing changes."), 400
    preview = EditPreview(
        before=text_of(before),
        after=text_of(after),
        version=_version(before),
        may=services().operations.may(EDIT, channel),
        command=_command(before, after, ""),
    )
    page = services().pages.show(
        "confirm_edit",
        channel=channel,
        name="",
        target=url_for(".save_guardrails"),
        hidden={"channel": channel} | fields,
        back=url_for(".releases"),
        preview=preview,
        version=version or preview.version,
        problem=problem,
        longest=MAX_REASON,
    )
    return page, 400 if problem else 200


def _form(channel: str, fields: dict[str, str], problem: str = "") -> str:
    """Render the form with the current guardrails, or with those that were sent."""
    now = _present(channel)
    if not problem:
        fields = {"guardrails": guardrails_text(now.guardrails), "days": str(now.days)}
    return services().pages.show(
        "edit_guardrails", channel=channel, fields=fields, problem=problem, metrics=METRICS
    )


def _changed(before: ReleaseGuardrails, fields: dict[str, str]) -> ReleaseGuardrails:
    """Return the guardrails of a form. Raises InputError if they are not valid."""
    days = fields["days"].strip()
    if not (days.isascii() and days.isdigit() and len(days) <= _MOST_DIGITS):
        raise InputError(f"days {days!r}: expected a whole number 1..365.")
    known = [one.metric for one in before.guardrails]  # a new order of the lines is no change
    listed = sorted(
        guardrails_of(fields["guardrails"]),
        key=lambda one: known.index(one.metric) if one.metric in known else len(known),
    )
    try:
        after = replace(before, guardrails=tuple(listed), days=int(days))
        return ReleaseGuardrails.from_bytes(after.to_bytes())
    except BundleInvalidError as err:
        raise InputError(str(err)) from err


def _command(before: ReleaseGuardrails, after: ReleaseGuardrails, reason: str) -> str:
    """Return the commands that make the same change, to run where the keys are."""
    kept = {one.metric for one in after.guardrails}
    gone = [one.metric for one in before.guardrails if one.metric not in kept]
    days = ["--days", str(after.days)] if before.days != after.days else []
    calls = [[word for name in gone for word in ("--remove", name)] + days] if gone or days else []
    for one in after.guardrails:
        if one not in before.guardrails:
            limits = ["--worse-by", digits(one.worse_by), "--alpha", digits(one.alpha)]
            calls.append(["--metric", one.metric, *limits])
    end = ["--reason", reason or "TEXT", "--channel", before.channel]
    end += ["--repo", "repo/", "--keys", "keys/"]
    return " && ".join(shlex.join(["pocketrec", "rollout", "guard", *one, *end]) for one in calls)


def _present(channel: str) -> ReleaseGuardrails:
    try:
        return read_guardrails(services().repo, channel)
    except InputError as err:
        abort(404, str(err))


def _version(guardrails: ReleaseGuardrails) -> str:
    """Return a text that changes with the guardrails."""
    return hashlib.sha256(guardrails.to_bytes()).hexdigest()[:16]


def _read(get: Any) -> tuple[str, dict[str, str]]:
    """Read channel and settings; respond 400 or 403 if they are not valid or not allowed."""
    insist_on_operator()
    channel, fields = get("channel") or "", {name: get(name) or "" for name in FIELDS}
    if not CHANNEL.fullmatch(channel):
        abort(400, "channel must be a channel's name")
    if any(len(text) > MAX_FIELD for text in fields.values()):
        abort(400, f"a field has at most {MAX_FIELD} characters")
    return channel, fields
