"""The thread that watches the attention line, and sends what is queued."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from pocketrec_bundle.errors import PocketRecError
from pocketrec_server.errors import DeliveryFailedError
from pocketrec_server.notifications import mail, outbox, webhook
from pocketrec_server.notifications.message import Notice
from pocketrec_server.notifications.outbox import Delivery
from pocketrec_server.notifications.settings import Notifications

EVERY_S = 30.0
_LOG = logging.getLogger("pocketrec_server")

Look = Callable[[Path, Engine, float], Iterable[Notice]]
"""Returns the present notices of a repository and a database at a time."""


def watch(
    repo: Path,
    engine: Engine,
    settings: Notifications,
    look: Look,
    stop: threading.Event,
    every_s: float = EVERY_S,
) -> threading.Thread:
    """Start a thread that looks and sends periodically. Failures are logged and retried.

    Args:
        repo: folder of the repository; may still be empty.
        engine: the database.
        settings: settings of notifications.
        look: returns the present notices.
        stop: event that ends the thread.
        every_s: seconds between two looks.
    """

    def run() -> None:
        while not stop.wait(every_s):
            try:
                once(repo, engine, settings, look, int(time.time()))
            except (PocketRecError, SQLAlchemyError) as err:
                _LOG.error("notifications: %s", err)
            except Exception:  # noqa: BLE001  # the last handler: the thread must live on
                _LOG.exception("notifications: bug")

    thread = threading.Thread(target=run, name="notifications", daemon=True)
    thread.start()
    return thread


def once(
    repo: Path, engine: Engine, settings: Notifications, look: Look, now_utc: int
) -> list[Delivery]:
    """Look once and send what is due; return the deliveries that were tried."""
    outbox.observe(engine, look(repo, engine, now_utc), settings, now_utc)
    tried = outbox.claim(engine, now_utc)
    for one in tried:
        error, final = "", False
        try:
            _send(settings, one, now_utc)
        except DeliveryFailedError as err:
            error, final = str(err), err.final
            _LOG.warning("notification %s by %s: %s", one.message.id, one.transport, error)
        outbox.finish(engine, one, error, now_utc, final=final)
    return tried


def _send(settings: Notifications, one: Delivery, now_utc: int) -> None:
    if one.transport == "webhook" and settings.webhook is not None:
        webhook.send(settings.webhook, one.message, now_utc)
    elif one.transport == "mail" and settings.mail is not None:
        mail.send(settings.mail, one.message)
    else:
        raise DeliveryFailedError(f"{one.transport} is no longer configured", final=True)
