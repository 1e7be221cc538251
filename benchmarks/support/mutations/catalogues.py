"""Catalogues: corrupt pages, and sound SQLite that runs or holds what no catalogue should."""

from numpy.random import Generator

from pocketrec_export.conformance.hostile_catalogues import hostile_catalogues
from pocketrec_export.conformance.sound import Base, Mutant, pick


def catalogue_pages(base: Base, rng: Generator) -> Mutant:
    """The catalogue's pages are corrupt: header, b-tree, cells."""
    data = bytearray(base.files["catalogue.sqlite"])
    for _ in range(int(rng.integers(1, 12))):
        page = int(rng.integers(max(1, len(data) // 4096))) * 4096
        at = page + int(pick(rng, (rng.integers(112), rng.integers(16), rng.integers(4096))))
        data[at] = pick(rng, (0, 1, 127, 128, 255, int(rng.integers(256))))
    return base.signed({"catalogue.sqlite": bytes(data)})


def catalogue_schema(base: Base, rng: Generator) -> Mutant:
    """The catalogue is sound SQLite that runs or holds what no catalogue should."""
    return base.signed({"catalogue.sqlite": pick(rng, hostile_catalogues().values())})
