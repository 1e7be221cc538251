"""The last resort: popular items, kept beside the releases, for a phone whose releases are damaged.

`popular.json` of the store is written from a verified release and needs none of its files to be
read. It has no filters, so with filters nothing is shown: an item may be unfit for a child.
"""

import hashlib
import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.strict_json import is_integer
from pocketrec_bundle.reader import Bundle
from pocketrec_edge.answers import Answer, SlateItem
from pocketrec_edge.faults import Fault
from pocketrec_edge.private_files import write_private

FILE_NAME = "popular.json"
"""In the store's folder."""
MAX_ITEMS = 100
MAX_FILE_BYTES = 1 << 20
MAX_TITLE = 200
REASON = "popular now"


@dataclass(frozen=True, slots=True, kw_only=True)
class PopularList:
    """What is kept: ids and titles, best first.

    Attributes:
        manifest: hash of the release's manifest.
        release: its name.
        slate: items that it shows by default.
        event_types: names of its events, for feedback on what is shown.
        items: (id, title), the title is the id where it has none.
    """

    manifest: str
    release: str
    slate: int
    event_types: tuple[str, ...]
    items: tuple[tuple[str, str], ...]

    def slate_items(self, k: int | None, page: int) -> tuple[SlateItem, ...]:
        """Return the items of one page; page: from 1."""
        k = self.slate if k is None else k
        first = k * (page - 1)
        return tuple(
            SlateItem(
                row=-1,  # without an open release an item has no row
                item_id=item_id,
                title=title,
                score=1.0 / place,
                retrieval_score=0.0,
                reason=REASON,
            )
            for place, (item_id, title) in enumerate(self.items[first : first + k], first + 1)
        )


def answer(
    store: Path,
    faults: tuple[Fault, ...],
    *,
    k: int | None,
    page: int | None,
    session: str | None,
    may_show: bool,
) -> Answer:
    """Answer a request of a phone whose releases do not open; without a list, with no items.

    Args:
        store: folder of the store.
        faults: why no release opens.
        k: slate size, by default the release's.
        page: from 1, of a list in pages.
        session: token of page 1.
        may_show: False where the request has filters, or wants other items than popular ones.
    """
    found = read(store) if may_show else None
    items = () if found is None else found.slate_items(k, page or 1)
    is_page = page is not None and bool(items)
    return Answer(
        items=items,
        source="fallback" if items else "none",
        faults=faults,
        release=found.release if found is not None and items else "",
        session=(session or str(uuid.uuid4())) if is_page else None,
        page=page if is_page else None,
    )


def keep(store: Path, manifest: str, bundle: Bundle) -> None:
    """Write the list of a release, unless it is there.

    Args:
        store: folder of the store.
        manifest: hash of the release's manifest.
        bundle: the release, all of whose files are sound.

    Raises:
        PocketRecError: it cannot be written, or a file of the release cannot be read.
    """
    found = read(store)
    if found is not None and found.manifest == manifest:
        return
    popular = bundle.array("items/popular")
    rows = popular[bundle.available[popular]][:MAX_ITEMS].tolist()
    titles = {item.row: item.title for item in bundle.catalogue(rows)}
    ids = [bundle.item_id(row) for row in rows]
    value = {
        "manifest": manifest,
        "release": bundle.manifest.name,
        "slate": bundle.policy.slate,
        "event_types": [*bundle.spec.event_types],
        "items": [
            [item_id, titles.get(row, "")[:MAX_TITLE] or item_id]
            for row, item_id in zip(rows, ids, strict=True)
        ],
    }
    write_private(store / FILE_NAME, canonical_json({"list": value, "sha256": _sha256(value)}))


def read(store: Path) -> PopularList | None:
    """Return the list; None if it is missing or damaged."""
    try:
        with (store / FILE_NAME).open("rb") as stream:
            told = json.loads(stream.read(MAX_FILE_BYTES))
        value = told["list"]
        if _sha256(value) != told["sha256"] or not is_integer(value["slate"], 1, 1000):
            return None
        return PopularList(
            manifest=str(value["manifest"]),
            release=str(value["release"]),
            slate=value["slate"],
            event_types=tuple(map(str, value["event_types"])),
            items=tuple((str(item_id), str(title)) for item_id, title in value["items"]),
        )
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _sha256(value: Any) -> str:
    return hashlib.sha256(canonical_json(value)).hexdigest()
