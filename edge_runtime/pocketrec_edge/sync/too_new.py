"""Releases that need a newer app. A sync skips them and does not count them as failed.

`update_app.json` in the phone's folder lists them, with the app version that could not read them.
Another version of the app or its runtime tries them again; the same version does so after some
days. `status` shows the newest reason as `update_app`.
"""

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.strict_json import MAX_UTC, is_integer, is_text
from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.settings.rollout import KILLED, SHA256, RolloutPolicy
from pocketrec_edge.engines.select import ENGINES, runtime, runtime_version
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.private_files import write_private

POLICY = "policy"
"""Key of the channel's policy; the other keys are manifest hashes."""
MAX_KEPT = 32
_LIFE_S = 7 * 86_400
_MAX_REASON = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class NewerReleases:
    """Releases that need a newer app.

    Attributes:
        app: the app that could not read them, see `this_app`.
        since_utc: unix seconds of the first entry.
        why: reason by manifest hash, or by `POLICY`; the newest comes last.
    """

    app: str
    since_utc: int
    why: dict[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> str | None:
        """The newest reason, for people; None if the app is new enough."""
        return next(reversed(self.why.values()), None)


def this_app(app_version: str | None) -> str:
    """Return the versions of app and runtimes as text; a new text means to try again."""
    try:
        reader = version("pocketrec")
    except PackageNotFoundError:  # the app bundles the code
        reader = ""
    runtimes = (f"{runtime(engine)} {runtime_version(engine)}".strip() for engine in ENGINES)
    return f"{app_version or ''}; {reader}; {', '.join(runtimes)}"[:_MAX_REASON]


def read(home: PhoneHome, app: str, now_utc: int) -> NewerReleases:
    """Return the releases that need a newer app; nothing if the file is damaged or too old."""
    found = _read(home)
    if found is None or found.app != app or not 0 <= now_utc - found.since_utc < _LIFE_S:
        return NewerReleases(app=app, since_utc=now_utc)
    return found


def note(home: PhoneHome, found: NewerReleases, what: str, why: str) -> NewerReleases:
    """Add a release. If it cannot be written, the next sync finds it again."""
    kept = {key: text for key, text in found.why.items() if key != what}
    kept[what] = why[:_MAX_REASON]
    noted = replace(found, why=dict(list(kept.items())[-MAX_KEPT:]))
    if noted != _read(home):
        with suppress(PocketRecError):
            _write(home, noted)
    return noted


def keep_only(home: PhoneHome, found: NewerReleases, policy: RolloutPolicy) -> NewerReleases:
    """Remove releases that the channel no longer offers.

    Args:
        home: the phone's folder.
        found: what `read` returned.
        policy: the channel's policy.
    """
    live = {stage.manifest for stage in policy.releases if stage.state != KILLED}
    kept = replace(found, why={key: why for key, why in found.why.items() if key in live})
    if kept != _read(home):
        with suppress(PocketRecError, OSError):
            if kept.why:
                _write(home, kept)
            else:
                home.update_app.unlink(missing_ok=True)
    return kept


def needed_update(home: PhoneHome) -> str | None:
    """Return why this phone needs a newer app, as of the last sync; None if it does not."""
    found = _read(home)
    return found.reason if found else None


def _write(home: PhoneHome, found: NewerReleases) -> None:
    pairs = [list(pair) for pair in found.why.items()]  # in their order, which an object has not
    write_private(home.update_app, canonical_json([found.app, found.since_utc, pairs]))


def _read(home: PhoneHome) -> NewerReleases | None:
    try:
        app, since_utc, pairs = json.loads(home.update_app.read_bytes())
        why = {what: text for what, text in pairs if is_text(text, _MAX_REASON) and _is_key(what)}
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    if not is_text(app, _MAX_REASON) or not is_integer(since_utc, 0, MAX_UTC):
        return None
    return NewerReleases(app=app, since_utc=since_utc, why=why)


def _is_key(value: object) -> bool:
    return isinstance(value, str) and (value == POLICY or SHA256.fullmatch(value) is not None)
