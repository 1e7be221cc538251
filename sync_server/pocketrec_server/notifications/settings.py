"""Settings of notifications: a TOML file with addresses; secrets come from the environment.

    site = "https://rec.example.org/admin/"     # for links in messages; optional
    kinds = ["halted", "failing"]               # default: all of KINDS
    [webhook]
    url = "https://hooks.example.org/pocketrec"
    [mail]
    host = "smtp.example.org"
    sender = "pocketrec@example.org"
    recipients = ["oncall@example.org"]

The file is read once, at the start. The site shows the settings without secrets, and cannot change
them: else a stolen token could make the server call addresses inside its network.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pocketrec_bundle.errors import InputError

HALTED, FAILING, EXPIRING = "halted", "failing", "expiring"
LOW_SAMPLE, UNREADABLE = "low-sample", "unreadable"
KINDS = (HALTED, FAILING, EXPIRING, LOW_SAMPLE, UNREADABLE)
STARTTLS, TLS, PLAIN = SECURITY = ("starttls", "tls", "none")
SECRET, PASSWORD = "POCKETREC_WEBHOOK_SECRET", "POCKETREC_SMTP_PASSWORD"
FEWEST_SECRET, MOST_RECIPIENTS = 16, 20
MAX_FILE_BYTES = 16 << 10
_ADDRESS = re.compile(r"[^\s@<>,;\"]{1,64}@[^\s@<>,;\"]{1,190}", re.ASCII)
_PORTS = {STARTTLS: 587, TLS: 465, PLAIN: 25}


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An address that gets each message as a signed POST.

    Attributes:
        url: https, or http on this machine.
        secret: key of the HMAC-SHA256 in the header.
    """

    url: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail server and the people that it mails.

    Attributes:
        host: name of the mail server.
        port: its port.
        security: one of SECURITY; "none" on this machine only.
        sender: address of the sender.
        recipients: addresses, 1..MOST_RECIPIENTS.
        user: name to log in with; "": no login.
        password: password to log in with.
    """

    host: str
    port: int
    security: str
    sender: str
    recipients: tuple[str, ...]
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifications:
    """Settings of notifications.

    Attributes:
        webhook: where to POST, or None.
        mail: whom to mail, or None.
        kinds: kinds of entries that are sent, of KINDS.
        site: address of the admin site for links, with a final slash; "": no links.
    """

    webhook: Webhook | None
    mail: Mail | None
    kinds: tuple[str, ...] = KINDS
    site: str = ""

    @property
    def transports(self) -> tuple[str, ...]:
        """Names of the configured transports."""
        both = (("webhook", self.webhook), ("mail", self.mail))
        return tuple(name for name, one in both if one is not None)


def read(path: Path, environ: Mapping[str, str]) -> Notifications:
    """Read and check a file of settings.

    Raises:
        InputError: the file cannot be read, or a setting or secret is missing or not valid.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise InputError(f"{path}: larger than {MAX_FILE_BYTES} bytes.")
        value = tomllib.loads(data.decode())
    except OSError as err:
        raise InputError(f"{path}: cannot be read ({err.strerror}).") from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise InputError(f"{path}: not TOML: {err}") from err
    table = _Table(str(path), value, ("site", "kinds", "webhook", "mail"))
    kinds = table.texts("kinds", list(KINDS))
    if not kinds or not set(kinds) <= set(KINDS):
        raise InputError(f"{path}: kinds: expected some of {', '.join(KINDS)}.")
    site = table.text("site", "")
    if site and urlsplit(site).scheme not in ("http", "https"):
        raise InputError(f"{path}: site {site!r}: expected an address such as https://host/admin/.")
    found = Notifications(
        webhook=_webhook(path, table.table("webhook", ("url",)), environ),
        mail=_mail(path, table.table("mail", tuple(Mail.__dataclass_fields__)), environ),
        kinds=kinds,
        site=f"{site.rstrip('/')}/" if site else "",
    )
    if not found.transports:
        raise InputError(f"{path}: expected a table [webhook] or [mail].")
    return found


class _Table:
    """A table of the file, whose keys and types are checked."""

    def __init__(self, where: str, value: dict[str, Any], known: tuple[str, ...]) -> None:
        if unknown := [key for key in value if key not in known]:
            raise InputError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(known)}.")
        self.where, self._value = where, value

    def table(self, name: str, known: tuple[str, ...]) -> "_Table | None":
        value = self._value.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise InputError(f"{self.where}: {name}: expected a table.")
        return _Table(f"{self.where}: {name}", value, known)

    def text(self, name: str, default: str | None = None) -> str:
        value = self._value.get(name, default)
        if not isinstance(value, str) or not value.isprintable() or len(value) > 1000:
            raise InputError(f"{self.where}: {name}: expected a text of one line.")
        return value

    def texts(self, name: str, default: list[str] | None = None) -> tuple[str, ...]:
        value = self._value.get(name, default)
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise InputError(f"{self.where}: {name}: expected a list of texts.")
        return tuple(value)

    def number(self, name: str, default: int, most: int) -> int:
        value = self._value.get(name, default)
        if type(value) is not int or not 1 <= value <= most:
            raise InputError(f"{self.where}: {name}: expected a number 1..{most}.")
        return value


def _webhook(path: Path, table: _Table | None, environ: Mapping[str, str]) -> Webhook | None:
    if table is None:
        return None
    url = table.text("url")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as err:
        raise InputError(f"{table.where}: url {url!r}: {err}.") from err
    if not host or parts.username is not None or not url.isascii():
        raise InputError(f"{table.where}: url {url!r}: expected an address without a user name.")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_here(host)):
        raise InputError(f"{table.where}: url {url!r}: expected https, or http on this machine.")
    secret = environ.get(SECRET, "")
    if len(secret) < FEWEST_SECRET:
        raise InputError(
            f"{path}: [webhook] needs the variable {SECRET}, at least {FEWEST_SECRET} characters. "
            "The receiver checks messages with it."
        )
    return Webhook(url=url, secret=secret)


def _mail(path: Path, table: _Table | None, environ: Mapping[str, str]) -> Mail | None:
    if table is None:
        return None
    host, security = table.text("host"), table.text("security", STARTTLS)
    if security not in SECURITY:
        raise InputError(f"{table.where}: security: expected one of {', '.join(SECURITY)}.")
    if security == PLAIN and not _is_here(host):
        raise InputError(f"{table.where}: security 'none' is for a mail server on this machine.")
    sender, recipients = table.text("sender"), table.texts("recipients")
    if not 1 <= len(recipients) <= MOST_RECIPIENTS:
        raise InputError(f"{table.where}: recipients: expected 1 to {MOST_RECIPIENTS} addresses.")
    for address in (sender, *recipients):
        if not _ADDRESS.fullmatch(address):
            raise InputError(f"{table.where}: {address!r}: expected an address such as a@host.")
    user, password = table.text("user", ""), environ.get(PASSWORD, "")
    if user and not password:
        raise InputError(f"{path}: [mail] with a user needs the variable {PASSWORD}.")
    return Mail(
        host=host,
        port=table.number("port", _PORTS[security], 65_535),
        security=security,
        sender=sender,
        recipients=recipients,
        user=user,
        password=password,
    )


def _is_here(host: str) -> bool:
    """Return whether only this machine can be meant; False for unknown host names."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
