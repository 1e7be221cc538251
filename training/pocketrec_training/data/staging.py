"""Write a folder of tables as a whole: all of it beside its place first, then one swap."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from pocketrec_bundle.disk.files import replace_dir, write_failed
from pocketrec_training.errors import TableInvalidError


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Hand out an empty folder that takes the place of `out` when the block ends well.

    It is `.NAME.partial` beside `out`; that of a killed try is removed first.

    Raises:
        PocketRecError: the disk is full or cannot be written; `out` is untouched.
        TableInvalidError: DuckDB could not read or write a file.
    """
    folder = out.parent / f".{out.name}.partial"
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        yield folder
        replace_dir(folder, out)
    except OSError as err:
        raise write_failed(out, err) from err
    except duckdb.IOException as err:
        if "No space left" in str(err):  # DuckDB hands on the text of the errno, not the number
            raise write_failed(out, OSError(errno.ENOSPC, "")) from err
        raise TableInvalidError(f"{out}: {err}") from err
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """Hand out a folder within `folder` for the time of the block."""
    scratch = folder / "scratch"
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
