"""The random bytes that decide which share of devices this one belongs to; they are never sent."""

import os
import re
from pathlib import Path

from pocketrec_edge.private_home import write_private

FILE_NAME = "bucket_id"
N_BYTES = 16
_FORM = re.compile(rf"[0-9a-f]{{{2 * N_BYTES}}}")


def bucket_id(home: Path) -> bytes:
    """Return a phone's bytes, drawn once; ones that cannot be read are drawn anew.

    Raises:
        PocketRecError: they could not be stored.
    """
    path = home / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        text = ""
    if not _FORM.fullmatch(text):
        text = os.urandom(N_BYTES).hex()
        write_private(path, text.encode())
    return bytes.fromhex(text)
