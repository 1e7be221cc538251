"""Keep log lines of engines off stderr, such as "Created TensorFlow Lite XNNPACK delegate".

LiteRT's and tflite-runtime's logger has no setting: its level is compiled in, and no Python call or
environment variable changes it. ONNX Runtime's default logger can be set only after its import,
which may have written already. Both write to file descriptor 2, past `sys.stderr`, so the
descriptor points to a temporary file while an engine loads. Other output in that time
(of another thread, or an error of the runtime) is then copied to the real stderr: only lines in the
form of an engine's log are dropped. Errors are Python exceptions and are not affected.

Two limits: output just before the process aborts inside the block is lost, and a child process that
another thread starts in that time keeps the temporary file as its stderr.
"""

import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

STDERR = 2
_NOTE = re.compile(
    rb"(INFO|WARNING|VERBOSE): (.*delegate|.*TensorFlow Lite|All log messages before absl)"
    rb"|[IW]\d{4} \d\d:\d\d:\d\d"  # its absl logger
    rb"|(\x1b\[[\d;]*m)*[\d :.-]*\[[VIW]:onnxruntime:"  # ONNX Runtime, coloured
)
_one_at_a_time = threading.Lock()
"""Lock: a second thread would save the temporary file's descriptor as the real stderr."""


@contextmanager
def notes_dropped() -> Iterator[None]:
    """Drop an engine's log lines on file descriptor 2 inside the block; copy other output after it.

    Does nothing without a stderr or space for a temporary file.
    """
    with _one_at_a_time:
        try:
            caught: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
            kept = os.dup(STDERR)
        except OSError:
            yield
            return
        with caught:
            os.dup2(caught.fileno(), STDERR)
            try:
                yield
            finally:
                os.dup2(kept, STDERR)
                os.close(kept)
                caught.seek(0)
                others = [line for line in caught if not _NOTE.match(line)]
                if others:
                    with contextlib.suppress(OSError):  # a closed pipe must not stop an engine
                        os.write(STDERR, b"".join(others))
