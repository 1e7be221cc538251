"""A phone's life in a Python that refuses what Windows refuses, see `tests/windows`."""

import gc
import sys
from pathlib import Path

from pocketrec_bundle.disk import locks
from pocketrec_edge.device import Device
from pocketrec_edge.memory import peak_bytes
from pocketrec_edge.sync.client import sync

first, second, third, url, root, home = sys.argv[1:]
assert not locks.POSIX
phone = Device(Path(home), engine="onnx")
phone.install(Path(first))
phone.close()

phone = Device(Path(home), engine="onnx")
slate = phone.recommend()
assert (slate.source, slate.faults) == ("model", ()), slate
phone.feedback(slate.items[0].item_id, "like")
assert phone.recommend().source == "model"
files = Path(home) / "store" / "files"
before = {path.name for path in files.iterdir()}

# The phone goes on answering from the first release, whose files it has mapped.
report = sync(Path(home), url, lambda bundle: None, root_path=Path(root), consent=True)
assert (report.status, report.events_fault) == ("updated", None), report
assert report.events_sent, report
assert sync(Path(home), url, lambda bundle: None).status == "current"
later = Device(Path(home), engine="onnx")
assert later.recommend().release == "second"
later.install(Path(third))
shared = {path.name for each in (second, third) for path in Path(each, "files").iterdir()}
stale = before - shared
assert stale & {path.name for path in files.iterdir()}, "no file in use outlived its release"
assert phone.recommend().source == "model"
phone.close()
later.close()
del phone, later, slate
gc.collect()  # a device that was closed may be part of a cycle

again = Device(Path(home), engine="onnx")
again.install(Path(second))
again.close()
assert not stale & {path.name for path in files.iterdir()}, "the first release's files stay"
peak_bytes()
