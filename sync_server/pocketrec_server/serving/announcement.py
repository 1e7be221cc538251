"""The lines that `pocketrec serve` prints at its start: address, releases, keys and database."""

import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.units import DAY_S
from pocketrec_server.auth.tokens import listed
from pocketrec_server.events.stats import event_stats
from pocketrec_server.repository import state
from pocketrec_server.repository.channel_status import LiveChannel, live
from pocketrec_server.repository.expiry import expiries
from pocketrec_server.repository.keys import Signers, load_signers
from pocketrec_server.repository.roles import BRAKE, TARGETS, TIMESTAMP, TOP_LEVEL
from pocketrec_server.repository.standing import LIVE
from pocketrec_server.settings import Settings
from pocketrec_server.storage.database import default_url, open_database


def lines(settings: Settings, host: str, port: int, *, is_new: bool) -> Iterator[str]:
    """Describe a server that has just started.

    Args:
        settings: settings of the server.
        host: address of the server.
        port: port of the server.
        is_new: whether this start created the database.
    """
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    yield f"serving {settings.repo} at {address}, admin site {address}/admin/"
    yield from _published(settings.repo)
    yield from _signing(settings)
    yield _database(settings, is_new=is_new)


def _published(repo: Path) -> Iterator[str]:
    if not state.exists(repo):
        yield "nothing is published yet: `pocketrec repo init`, then `pocketrec publish`"
        return
    try:
        for channel in live(repo):
            yield f"channel {channel.policy.channel}: {_releases(channel)}"
    except PocketRecError as err:
        yield f"releases cannot be read: {err}"


def _releases(channel: LiveChannel) -> str:
    if not channel.releases:
        return "no release"
    shares = [
        f"{release.stage.name} for {release.standing.share * 100:.3g}% of the devices"
        for release in channel.releases
        if release.standing.state == LIVE
    ]
    newest = channel.releases[0]
    return ", ".join(shares) or f"no release is offered, the newest is {newest.standing.state}"


def _signing(settings: Settings) -> Iterator[str]:
    signers = load_signers(settings.keys) if settings.keys is not None else load_signers()
    where = f"--keys {settings.keys}" if settings.keys is not None else "no --keys"
    if settings.keys is None:
        left = _left(settings.repo)
        yield f"{where}: cannot renew metadata{left}, cannot halt releases"
        return
    able = ["renews metadata"]
    able += ["halts releases"] if BRAKE in signers else []
    able += (
        [f"changes the policy of {', '.join(own)}"] if (own := _channels(settings, signers)) else []
    )
    unable = [] if BRAKE in signers else ["cannot halt releases: no brake.pem"]
    yield f"{where}: {', '.join([*able, *unable])}"
    if offline := [*signers.root_names(), *([TARGETS] if TARGETS in signers else [])]:
        yield f"{where}: {', '.join(offline)} should be offline: remove them from this server"


def _channels(settings: Settings, signers: Signers) -> list[str]:
    """Return the channels whose key is on this server."""
    roles = expiries(settings.repo)
    return [role for role in roles if role in signers and role not in (*TOP_LEVEL, BRAKE)]


def _left(repo: Path) -> str:
    expires = expiries(repo).get(TIMESTAMP)
    if expires is None:
        return ""
    days = (expires - time.time()) / DAY_S
    return f" (the timestamp expires in {days:.1f} days)" if days > 0 else " (it has EXPIRED)"


def _database(settings: Settings, *, is_new: bool) -> str:
    url = settings.database_url or default_url(settings.repo)
    try:
        engine = open_database(url)
        try:
            now = int(time.time())
            events = event_stats(engine, now).events
            listed_now = [token for token in listed(engine) if token.revoked_utc is None]
            tokens = [token for token in listed_now if token.expires_utc > now]
        finally:
            engine.dispose()
    except (PocketRecError, SQLAlchemyError) as err:
        return f"database: cannot be read ({err})"
    content = "created now" if is_new else f"{events:,} events"
    operators = (
        f"{len(tokens)} operator tokens"
        if tokens
        else "no operator token yet: `pocketrec admin token make`"
    )
    return f"database {engine.url.render_as_string()}: {content}, {operators}"
