"""Load TensorFlow without its start-up messages, which ignore all logging settings."""

import logging
import os
import sys


def load_tensorflow() -> None:
    """Import TensorFlow on the processor only, its start-up notes discarded.

    The C++ part writes to file descriptor 2 before it reads TF_CPP_MIN_LOG_LEVEL, so the
    descriptor itself is turned away during the import; Python's errors still come through.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import tensorflow  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
    for name in ("", "absl", "tensorflow"):  # converters warn of their own deprecated calls
        logging.getLogger(name).setLevel(logging.ERROR)
