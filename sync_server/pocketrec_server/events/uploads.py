"""Parse the body of an upload: version 1, or the older form without a version.

`{"schema": 1, "batch": uuid, "install_id": text, "consent": true, "events": [...]}`; the older form
has no schema and no batch. `docs/device/privacy.md` describes the protocol.
"""

import re
import uuid
from dataclasses import dataclass
from typing import Any

from pocketrec_bundle.encoding.strict_json import is_integer, parse_json
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_server.errors import UploadRefusedError

SCHEMA = 1
MAX_EVENTS = 1000
MAX_BODY_BYTES = 1 << 20
MAX_CONTENT_BYTES = 4 << 20
INSTALL_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One batch of events.

    Attributes:
        install_id: random id of the install.
        batch: id of the batch; None in the older form.
        events: events as parsed JSON, not validated.
    """

    install_id: str
    batch: str | None
    events: list[Any]


def parse(content: bytes) -> Upload:
    """Parse a body without validating its events.

    Raises:
        UploadRefusedError: the body has another form, too many events, or no consent.
    """
    try:
        body = parse_json("the body", content, MAX_CONTENT_BYTES)
    except BundleInvalidError as err:
        raise UploadRefusedError(400, str(err)) from err
    if not isinstance(body, dict) or not isinstance(body.get("events"), list):
        raise UploadRefusedError(
            400, 'expected {"install_id": text, "consent": true, "events": [...]}'
        )
    if body.get("consent") is not True:
        raise UploadRefusedError(403, "no consent was given, so nothing was stored")
    if len(body["events"]) > MAX_EVENTS:
        raise UploadRefusedError(413, f"at most {MAX_EVENTS} events a batch")
    batch = None
    if "schema" in body:
        if not is_integer(body["schema"], SCHEMA, SCHEMA):
            raise UploadRefusedError(400, f"schema must be {SCHEMA}")
        batch = _uuid(body.get("batch"))
    elif "batch" in body:
        raise UploadRefusedError(400, f"batch needs schema, which must be {SCHEMA}")
    return Upload(
        install_id=checked_install_id(body.get("install_id")), batch=batch, events=body["events"]
    )


def checked_install_id(value: Any) -> str:
    """Return an install id after checking its form.

    Raises:
        UploadRefusedError: the value is not an install id.
    """
    if not isinstance(value, str) or not INSTALL_ID.fullmatch(value):
        raise UploadRefusedError(400, "install_id must be 8..64 letters, digits, - or _")
    return value


def _uuid(value: Any) -> str:
    try:
        return str(uuid.UUID(value))
    except (ValueError, TypeError, AttributeError) as err:
        raise UploadRefusedError(400, "batch must be a UUID") from err
