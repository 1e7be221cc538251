"""Score a bundle as a phone would show it, on the cases of an evaluation."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pocketrec_bundle.encoding.strict_json import shown
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_export.gates.on_device import answer
from pocketrec_training.data.dataset import Dataset
from pocketrec_training.metrics.cases import Cases
from pocketrec_training.metrics.ranks import NOBODY, RankedTargets


class ShippedBundle:
    """A bundle as a method of `evaluate`: its models, index and rules, and its cold start.

    Example:
        >>> from pocketrec import evaluate
        >>> found = evaluate(run=Path("run"), data=Path("data"), out=Path("report"),
        ...     shipped=ShippedBundle(Path("release")))
        >>> found.of("shipped_bundle").cases
        40
    """

    def __init__(self, folder: Path, engine: str = "auto") -> None:
        """Open a bundle folder and load its models.

        Raises:
            BundleInvalidError: the bundle is damaged.
            PocketRecError: a model cannot be loaded here.
        """
        self._folder = folder
        self._device = Recommender(open_bundle(folder), engine)
        if self._device.fault is not None:
            raise InputError(f"{folder}: {self._device.fault.text}. See `pocketrec verify`.")
        self._sources: Counter[str] = Counter()

    def check(self, data: Dataset) -> None:
        """Refuse data with other items or events.

        Raises:
            InputError: they differ; the text names the first difference.
        """
        bundle = self._device.bundle
        theirs, ours = set(bundle.item_ids()), set(data.items.ids)
        if only := sorted(theirs ^ ours):
            where = "the bundle" if only[0] in theirs else "the data"
            raise InputError(
                f"{self._folder}: {len(theirs):,} items, the data have {len(ours):,}; "
                f"{shown(only[0])} is only in {where}. Evaluate with the tables of the run that "
                "was exported."
            )
        types = len(bundle.spec.event_types)
        if int(data.events.max(initial=0)) >= types:
            raise InputError(
                f"{self._folder}: {types} event types ({', '.join(bundle.spec.event_types)}), the "
                "data have more. Evaluate with the recipe that was exported."
            )

    def answer(self, data: Dataset, cases: Cases, k: int) -> RankedTargets:
        """Return the slates of k items; a target that is not shown has rank n_items."""
        found = answer(self._device, data, cases, k, "bundle", cold_start=True)
        self._sources.update(found.sources)
        bundle, place = self._device.bundle, {id_: row for row, id_ in enumerate(data.items.ids)}
        row_of = np.array([place[item_id] for item_id in bundle.item_ids()], np.int32)
        top = np.where(found.lists == NOBODY, NOBODY, row_of[found.lists])
        ranks = np.where(found.slate < k, found.slate, len(data.items))
        return RankedTargets(ranks=ranks, top=top.astype(np.int32))

    def facts(self) -> Mapping[str, Any]:
        """Return what the report says of the bundle: name, engine, how slates were made, notes."""
        manifest = self._device.bundle.manifest
        fits = {entry.meta.get("fit") for entry in manifest.files if entry.kind == "model"}
        notes = []
        if "final" in fits:
            notes.append(
                f"{self._folder}: a final fit, which saw the held-out events, so the figures of "
                "the bundle are too good. Score `pocketrec export --fit evaluation` instead"
            )
        return {
            "name": manifest.name,
            "engine": self._device.engine,
            "slates_by_source": dict(self._sources),
            "notes": notes,
        }
