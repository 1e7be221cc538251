"""The random id of this install's uploads. It identifies neither a person nor a device.

The first upload makes it, so a phone without consent has no id.
"""

import re
import uuid

from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.private_files import write_private

_FORM = re.compile(r"[A-Za-z0-9_-]{8,64}")  # the format that servers accept


def install_id(home: PhoneHome) -> str:
    """Return the id; make it at the first call."""
    if (found := existing(home)) is None:
        found = uuid.uuid4().hex
        write_private(home.install_id, found.encode())
    return found


def existing(home: PhoneHome) -> str | None:
    """Return the id, or None if it was never made or cannot be read."""
    path = home.install_id
    try:
        found = path.read_text(encoding="utf-8") if path.exists() else ""
    except ValueError:
        return None
    return found if _FORM.fullmatch(found) else None
