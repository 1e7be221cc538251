"""The random id under which this install's events go up; it names no person and no device.

Made with the first upload, so a phone whose user never agreed has none.
"""

import re
import uuid

from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.private_files import write_private

_FORM = re.compile(r"[A-Za-z0-9_-]{8,64}")  # what a server takes


def install_id(home: PhoneHome) -> str:
    """Return the id, made once."""
    if (found := existing(home)) is None:
        found = uuid.uuid4().hex
        write_private(home.install_id, found.encode())
    return found


def existing(home: PhoneHome) -> str | None:
    """Return the id if it was made; one that cannot be read is made anew."""
    path = home.install_id
    try:
        found = path.read_text(encoding="utf-8") if path.exists() else ""
    except ValueError:
        return None
    return found if _FORM.fullmatch(found) else None
