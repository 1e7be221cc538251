"""Hash a release's large files beside the first answers, not before them.

They were hashed when they were installed; what can have happened since is a worn-out flash cell. A
phone of a million items so starts 100 ms sooner; at most its first slates come from a damaged file.
"""

import threading

from pocketrec_bundle.reader import Bundle
from pocketrec_edge.faults import Fault
from pocketrec_edge.releases.store import Store


class IntegrityCheck:
    """One pass over `bundle.unhashed` in a thread of its own; hashing leaves the interpreter free.

    fault: what is wrong, None so far.
    """

    def __init__(self, store: Store, bundle: Bundle) -> None:
        self.fault: Fault | None = None
        self._store, self._bundle = store, bundle
        self._thread = threading.Thread(target=self._run, name="integrity check", daemon=True)
        self._called = self._started = False

    def start(self) -> bool:
        """Begin, once; called when the first slate is out. Returns whether it was the first call.

        A release without large files is checked already; then no thread starts.
        """
        if self._called:
            return False
        self._called = True
        if self._bundle.unhashed:
            self._started = True
            self._thread.start()
        return True

    def wait(self) -> None:
        """Wait until all is hashed, if it was begun."""
        if self._started:
            self._thread.join()

    def _run(self) -> None:
        self.fault = self._store.hash_rest(self._bundle)
