"""Describe network errors for people, without the class names in urllib3's messages.

`str(err)` of a refused connection is `Paced(host='127.0.0.1', port=1): Failed to establish ...`.
"""

import re
import ssl
from collections.abc import Iterator

from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

_REPR = re.compile(r"<[^<>]*\bobject at 0x[0-9a-f]+>(: )?|\b[A-Z]\w*\((host|pool)=[^()]*\)(: )?")
_CALL = re.compile(r"[A-Z]\w*\((.*)\)", re.DOTALL)
_NOISE = re.compile(r"^\[(Errno -?\d+|SSL[^\]]*)\] | \(_ssl\.c:\d+\)")
_MOST = 200


def plain(err: BaseException) -> str:
    """Return one line: the failure and the system's reason, without class names."""
    reason = _reason(err)
    for kind, what in (
        (NameResolutionError, "the server's name cannot be resolved"),
        (NewConnectionError, "no connection"),
        (ConnectTimeoutError, "no connection in time"),
        (ReadTimeoutError, "no answer in time"),
        (ProxyError, "the proxy gives no connection"),
        (SSLError, "TLS failed"),
        (ProtocolError, "the connection broke off"),
    ):
        if isinstance(err, kind):
            return f"{what} ({reason})" if reason else what
    return _cleaned(str(err)) or "no answer"


def _reason(err: BaseException) -> str:
    """Return the innermost exception's text; "" if it only reports a timeout."""
    found = [*_chain(err)][-1]
    if found is err:
        return ""
    if isinstance(found, ssl.SSLCertVerificationError):
        return found.verify_message
    text = found.strerror if isinstance(found, OSError) else None
    text = _cleaned(text or str(found))
    return "" if text in ("timed out", "Read timed out.") else text


def _chain(err: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, down to the innermost one."""
    seen: set[int] = set()
    following: BaseException | None = err
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        held = [one for one in following.args if isinstance(one, BaseException)]
        following = held[0] if held else following.__cause__


def _cleaned(text: str) -> str:
    """Return a text without class names."""
    text = _NOISE.sub("", _REPR.sub("", text)).strip()
    text = call[1] if (call := _CALL.fullmatch(text)) else text  # IncompleteRead(3 bytes read)
    return printable(text)


def printable(text: str) -> str:
    """Return at most 200 characters of a server's text, without control characters."""
    return "".join(each if each.isprintable() else "?" for each in text[:_MOST])
