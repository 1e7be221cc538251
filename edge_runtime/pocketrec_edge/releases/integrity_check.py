"""Background integrity check: hash a release's large files after the first slate.

The files were hashed at installation; since then only the storage can have failed. With a million
items a phone starts 100 ms faster; only its first slates may come from a damaged file.
"""

import threading

from pocketrec_bundle.reader import Bundle
from pocketrec_edge.faults import Fault
from pocketrec_edge.releases.store import Store


class IntegrityCheck:
    """Hashes `bundle.unhashed` once, in a thread; hashing releases the GIL.

    Attributes:
        fault: the damage found, or None.
    """

    def __init__(self, store: Store, bundle: Bundle) -> None:
        self.fault: Fault | None = None
        self._store, self._bundle = store, bundle
        self._thread = threading.Thread(target=self._run, name="integrity check", daemon=True)
        self._called = self._started = False

    def start(self) -> bool:
        """Start the check after the first slate; return whether this was the first call.

        A release without large files needs no thread.
        """
        if self._called:
            return False
        self._called = True
        if self._bundle.unhashed:
            self._started = True
            self._thread.start()
        return True

    def wait(self) -> None:
        """Wait for the check, if it was started."""
        if self._started:
            self._thread.join()

    def _run(self) -> None:
        self.fault = self._store.hash_rest(self._bundle)
