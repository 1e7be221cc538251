"""Send a message as an HTTP POST, signed with HMAC-SHA256.

    X-PocketRec-Signature: t=1796083200,v1=<hex of HMAC-SHA256(secret, "1796083200." + body)>

The time is signed too, so that a receiver can refuse an old request. Redirects are not followed,
and no more than 1 kB of the response is read.
"""

import hashlib
import hmac
import http.client
import ssl
from urllib.parse import urlsplit

from pocketrec_server.errors import DeliveryFailedError
from pocketrec_server.notifications.message import Message
from pocketrec_server.notifications.settings import Webhook

TIMEOUT_S = 10.0
SIGNATURE = "X-PocketRec-Signature"
_MOST_READ = 1024
_AGAIN = (408, 425, 429)
"""Client errors after which a later try can succeed."""


def signature(secret: str, body: bytes, now_utc: int) -> str:
    """Return the value of the header SIGNATURE.

    Example:
        >>> signature("0123456789abcdef", b"{}", 0)[:12]
        't=0,v1=67f76'
    """
    signed = str(now_utc).encode() + b"." + body
    return f"t={now_utc},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def send(webhook: Webhook, message: Message, now_utc: int, timeout_s: float = TIMEOUT_S) -> None:
    """Send a message.

    Raises:
        DeliveryFailedError: no connection, no answer in time, a status other than 2xx, or a URL
            to which no request can be sent.
    """
    parts = urlsplit(webhook.url)
    body = message.to_text().encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "PocketRec",
        "X-PocketRec-Delivery": message.id,
        SIGNATURE: signature(webhook.secret, body, now_utc),
    }
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        trusted = ssl.create_default_context()
        connection = http.client.HTTPSConnection(
            host, parts.port, timeout=timeout_s, context=trusted
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    try:
        place = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        connection.request("POST", place, body, headers)
        response = connection.getresponse()
        response.read(_MOST_READ)
    except (OSError, http.client.HTTPException) as err:
        raise DeliveryFailedError(f"{host}: {err or type(err).__name__}") from err
    except ValueError as err:  # UnicodeError: a host such as "hooks..example.org"
        raise DeliveryFailedError(f"{host}: {err}", final=True) from err
    finally:
        connection.close()
    status = response.status
    if not 200 <= status < 300:
        final = status < 500 and status not in _AGAIN
        raise DeliveryFailedError(f"{host} answered {status} {response.reason}", final=final)
