"""Batches of rows are kept in Parquet files of texts, because a table may exceed the memory."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pocketrec_training.reading.batch import Batch
from pocketrec_training.reading.raw_table import BROKEN, FILE, LINE, PLACE, TEXT

_PLACES = [
    pa.field(PLACE, pa.int64()),
    pa.field(FILE, pa.string()),
    pa.field(LINE, pa.int64()),
    pa.field(BROKEN, pa.string()),
    pa.field(TEXT, pa.string()),
]


class Scratch:
    """Writes the batches of a table's files to a folder; a new column begins a new file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.names: list[str] = []
        self.paths: list[Path] = []
        self._writer: pq.ParquetWriter | None = None
        self._width = -1
        self._rows = 0

    def add(self, file: str, batch: Batch) -> None:
        """Write a batch; its broken lines become rows without values."""
        places = self._places(batch.names)
        if self._writer is None or len(self.names) > self._width:
            self._open()
        assert self._writer is not None
        n, n_broken = len(batch.lines), len(batch.broken)
        given = dict(zip(places, batch.columns, strict=True))
        blanks = [None] * n_broken
        nothing = pa.nulls(n + n_broken, pa.string())
        columns = [
            pa.array([*given[k], *blanks] if blanks else given[k], pa.string())
            if k in given
            else nothing
            for k in range(self._width)
        ]
        broken = batch.broken
        places_of_rows = [
            pa.array(range(self._rows, self._rows + n + n_broken), pa.int64()),
            pa.repeat(pa.scalar(file, pa.string()), n + n_broken),
            pa.array([*batch.lines, *(each.line for each in broken)], pa.int64()),
            pa.array([*[None] * n, *(each.reason for each in broken)], pa.string()),
            pa.array([*[None] * n, *(each.text for each in broken)], pa.string()),
        ]
        self._rows += n + n_broken
        self._writer.write_table(pa.table([*columns, *places_of_rows], schema=self._schema()))

    def close(self) -> None:
        """Finish the last file."""
        if self._writer is None:
            self._open()
        assert self._writer is not None
        self._writer.close()

    def _places(self, names: tuple[str, ...]) -> list[int]:
        """Return the column of each name; the second of two equal names is its own column."""
        taken: set[int] = set()
        places = []
        known: dict[str, list[int]] = {}
        for at, name in enumerate(self.names):
            known.setdefault(name, []).append(at)
        for name in names:
            at = next((k for k in known.get(name, ()) if k not in taken), len(self.names))
            if at == len(self.names):
                self.names.append(name)
                known.setdefault(name, []).append(at)
            taken.add(at)
            places.append(at)
        return places

    def _open(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._width = len(self.names)
        self.paths.append(self.folder / f"{len(self.paths)}.parquet")
        self._writer = pq.ParquetWriter(self.paths[-1], self._schema(), compression="snappy")

    def _schema(self) -> pa.Schema:
        return pa.schema([pa.field(f"c{k}", pa.string()) for k in range(self._width)] + _PLACES)
