"""All that a release holds of its items, one row each, while the next release is made of it."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.declared.encoded import EncodedFeatures
from pocketrec_bundle.neighbours import Neighbours
from pocketrec_training.data.dataset import Items


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemTable:
    """Items and what lies beside them, all in one order.

    rows: int8 [N, d]; scales: float32 [N]; cell: int64 [N]; popularity: float32 [N, P];
    available: bool [N], False where withdrawn; neighbours: of all N, if the release has any;
    typed: values of the release's item features by name.
    """

    items: Items
    rows: NDArray[np.int8]
    scales: NDArray[np.float32]
    cell: NDArray[np.int64]
    popularity: NDArray[np.float32]
    available: NDArray[np.bool_]
    neighbours: Neighbours | None
    typed: EncodedFeatures = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.items)

    def kept(self, keep: NDArray[np.bool_]) -> "ItemTable":
        """Return some of the items, in their order; keep: bool [N], at least one true."""
        return ItemTable(
            items=self.items.pick(np.flatnonzero(keep)),
            rows=self.rows[keep],
            scales=self.scales[keep],
            cell=self.cell[keep],
            popularity=self.popularity[keep],
            available=self.available[keep],
            neighbours=self.neighbours.kept(keep) if self.neighbours else None,
            typed={name: one.pick(keep) for name, one in self.typed.items()},
        )

    def compacted(self, share: float) -> "ItemTable":
        """Return it without withdrawn items if they are more than `share` of all, else as it is.

        Also as it is if nothing would be left: a release has items.
        """
        n_available = int(np.count_nonzero(self.available))
        if not n_available or len(self) - n_available <= share * len(self):
            return self
        return self.kept(self.available)
