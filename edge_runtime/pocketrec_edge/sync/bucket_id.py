"""Random bytes that assign this device to a share of the fleet. They are never sent.

An erasure removes them, because the arms that they draw are sent and could tell whose they are.
"""

import os
import re

from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.private_files import write_private

N_BYTES = 16
_FORM = re.compile(rf"[0-9a-f]{{{2 * N_BYTES}}}")


def bucket_id(home: PhoneHome) -> bytes:
    """Return the phone's bytes; draw them at the first call, and again if they cannot be read.

    Raises:
        PocketRecError: the bytes cannot be stored.
    """
    path = home.bucket_id
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        text = ""
    if not _FORM.fullmatch(text):
        text = os.urandom(N_BYTES).hex()
        write_private(path, text.encode())
    return bytes.fromhex(text)
