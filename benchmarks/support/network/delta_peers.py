"""What others would send for the same change of a file: bsdiff, zstd with a dictionary, a bound."""

import importlib
import lzma
import math
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import zstandard

from benchmarks.harness import Cell
from pocketrec_bundle.encoding.delta import make_delta

Row = dict[str, Cell]
Method = Callable[[bytes, bytes], bytes]


def peers(name: str, old: bytes, new: bytes, record: int | None = None) -> list[Row]:
    """Bytes and seconds of each way to tell `new` from `old`.

    Args:
        name: of the file.
        old: what the phone has.
        new: what it wants.
        record: bytes of a record, where the file is an array after its header; gives the bound.
    """
    methods: dict[str, Method] = {
        "this project's": lambda a, b: make_delta(a, b)[1],
        "zstd 19, long, old as dictionary": _zstd,
    }
    with suppress(ImportError):  # it comes with the extra `bench`
        methods["bsdiff 4"] = importlib.import_module("bsdiff4").diff
    rows = [_row(name, method, *_timed(make, old, new)) for method, make in methods.items()]
    rows.append(_row(name, "the whole file, xz", len(lzma.compress(new)), None))
    if record is not None:
        rows.append(_row(name, "bound by rows", row_bound(old, new, record), None))
    return rows


def row_bound(old: bytes, new: bytes, record: int) -> int:
    """Bytes of the changed records, each packed as well as xz can, and of saying which they are.

    Which of n records changed takes n times the entropy of the changed share; no coder of single
    records does better without knowing more of them.
    """
    n = min(len(old), len(new)) // record
    before, after = (
        np.frombuffer(each, np.uint8)[-n * record :].reshape(n, record) for each in (old, new)
    )
    changed = (before != after).any(axis=1)
    share = float(changed.mean())
    bits = sum(-p * math.log2(p) for p in (share, 1 - share) if p)
    packed = len(lzma.compress(after[changed].tobytes(), lzma.FORMAT_ALONE))
    return math.ceil(n * bits / 8) + min(packed, int(changed.sum()) * record)


def _zstd(old: bytes, new: bytes) -> bytes:
    # The window must reach over both files, or nothing of the old one is found.
    window = max(10, min(27, math.ceil(math.log2(max(len(old) + len(new), 2)))))
    settings = zstandard.ZstdCompressionParameters.from_level(
        19, window_log=window, enable_ldm=True
    )
    dictionary = zstandard.ZstdCompressionDict(old, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdCompressor(dict_data=dictionary, compression_params=settings).compress(new)


def _timed(make: Method, old: bytes, new: bytes) -> tuple[int, float]:
    started = time.perf_counter()
    made = make(old, new)
    return len(made), time.perf_counter() - started


def _row(name: str, method: str, size: int, seconds: float | None) -> Row:
    return {"file": name, "method": method, "bytes": size, "made_s": seconds}
