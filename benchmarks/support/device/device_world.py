"""Catalogues of N items for `bench device`: a real one, extended, with its real models and users.

Real vectors: those of a trained run come first, unchanged. Each further vector lies on the way
from a real item to one of its nearest real items (a share drawn from 0..1/2), with a Gaussian of
half the spread, dimension by dimension, that real items have around their nearest: the catalogue
keeps its clusters, fills the space between, and no vector comes twice. Words, categories and years
come from the item it started from. Neighbours, which are fitted up to 20,000 items only, are
drawn: the `neighbours` items of largest cosine among the `_GROUP` that lie beside an item in the
release's order, which is that of its cells; the cosine is the weight. Synthetic vectors: points
about centres, as many centres as the square root of N, all Gaussian.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.features import History
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.neighbours import Neighbours
from pocketrec_bundle.quantize import quantize_rows
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.writer import BundleWriter
from pocketrec_edge.recommend.index import units
from pocketrec_export.items.content import add_items
from pocketrec_export.items.index_builder import BuiltIndex, build_index
from pocketrec_export.items.nprobe import choose_probes
from pocketrec_training.cold_start.score_calibration import vectors_of_users
from pocketrec_training.data.dataset import Items, load_dataset
from pocketrec_training.data.features.columns import release_popularity
from pocketrec_training.trained import load_trained

NEAREST = 10
NOISE = 0.5
_GROUP = 512
SPREAD = 0.5
"""Of a synthetic point about its centre; centres have 1."""


def extended(real: Floats32, n: int, seed: int) -> tuple[Floats32, NDArray[np.int64]]:
    """Extend item vectors to n, see the module.

    Args:
        real: float32 [M, d].
        n: vectors wanted, at least M.
        seed: of what is drawn.

    Returns:
        float32 [n, d]; int64 [n], the real item that each began from.
    """
    rng = np.random.default_rng(seed)
    apart = (real**2).sum(1)[:, None] + (real**2).sum(1) - 2 * real @ real.T
    np.fill_diagonal(apart, np.inf)
    near = np.argsort(apart, axis=1, kind="stable")[:, :NEAREST]
    spread = NOISE * (real[near] - real[:, None]).std(axis=(0, 1))  # [d]
    new = n - len(real)
    start = rng.integers(len(real), size=new)
    end = near[start, rng.integers(near.shape[1], size=new)]
    found = np.empty((n, real.shape[1]), np.float32)
    found[: len(real)] = real
    for at in range(0, new, 1 << 16):  # bounds memory at 10 M
        part = slice(at, min(at + (1 << 16), new))
        share = rng.random((part.stop - at, 1), np.float32) / 2
        drawn = rng.standard_normal((part.stop - at, real.shape[1]), np.float32)
        one, two = real[start[part]], real[end[part]]
        found[len(real) + at : len(real) + part.stop] = one + share * (two - one) + drawn * spread
    return found, np.concatenate([np.arange(len(real)), start])


def synthetic(n: int, dim: int, seed: int) -> Floats32:
    """Return n vectors about centres, float32 [n, d], see the module."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, round(n**0.5)), dim), np.float32)
    found = np.empty((n, dim), np.float32)
    for at in range(0, n, 1 << 16):
        size = min(1 << 16, n - at)
        drawn = rng.standard_normal((size, dim), np.float32)
        found[at : at + size] = centres[rng.integers(len(centres), size=size)] + SPREAD * drawn
    return found


def cells_for(n: int) -> int:
    """Return about twice the square root of N, a power of two: 256 at 10 k, 2,048 at 1 M."""
    return 2 << round(math.log2(max(n, 4)) / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A trained run: vectors float32 [M, d], some users' vectors, float32 [u, d], and histories.

    histories: item ids, event codes and times of each of them; now_utc: when they are served.
    """

    vectors: Floats32
    users: Floats32
    items: Items
    popularity: Floats32
    histories: list[tuple[list[str], NDArray[np.int32], NDArray[np.int64]]]
    now_utc: int

    @classmethod
    def of(cls, run_dir: Path, data_dir: Path, n_users: int) -> "Source":
        """Load a run and draw some of its users."""
        trained = load_trained(run_dir)
        data = load_dataset(trained.recipe, data_dir)
        rng = np.random.default_rng(trained.recipe.seed)
        users = np.sort(rng.permutation(data.n_users)[:n_users])
        ids = np.array(data.items.ids)
        past = [data.history(int(user)) for user in users]
        now = int(data.ts.max()) + 3600
        vectors = vectors_of_users(
            trained.user_tower, trained.spec, data, users, trained.item_vectors, now
        )
        return cls(
            vectors=trained.item_vectors,
            users=vectors,
            items=trained.items,
            popularity=release_popularity(trained.spec, data),
            histories=[(ids[h.rows].tolist(), h.events, h.ts) for h in past],
            now_utc=now,
        )


def made_items(items: Items, source: NDArray[np.int64], seed: int) -> Items:
    """Return items for extended vectors: real ones first, the others named after their source."""
    rng = np.random.default_rng(seed)
    start = source[len(items) :].tolist()
    words = sorted({word for title in items.titles for word in title.split()})
    drawn = rng.integers(len(words), size=(len(start), 2)).tolist()
    titles = [
        f"{items.titles[at].partition(' (')[0]} {words[a]} {words[b]}"
        for at, (a, b) in zip(start, drawn, strict=True)
    ]
    return Items(
        ids=[*items.ids, *(f"new-{n:07d}" for n in range(len(start)))],
        titles=[*items.titles, *titles],
        categories=[items.categories[at] for at in source.tolist()],
        price=np.concatenate(
            [items.price, np.round(rng.lognormal(2.0, 1.0, len(start)), 2).astype(np.float32)]
        ),
        year=items.year[source],
    )


def drawn_neighbours(vectors: Floats32, index: BuiltIndex, k: int) -> Neighbours:
    """Return k neighbours an item, see the module.

    Args:
        vectors: float32 [n, d], canonical order; n > k.
        index: gives the release's order.
        k: neighbours an item.
    """
    placed = units(vectors[index.order])
    n = len(placed)
    rows = np.empty((n, k), np.int32)
    cosines = np.empty((n, k), np.float32)
    for start in range(0, n, _GROUP):
        low = min(start, max(n - _GROUP, 0))  # the last group overlaps the one before
        group = placed[low : low + _GROUP]
        like = group @ group.T
        np.fill_diagonal(like, -np.inf)
        best = np.argpartition(-like, k - 1, axis=1)[:, :k]
        rows[low : low + len(group)] = low + best
        cosines[low : low + len(group)] = np.take_along_axis(like, best, axis=1)
    weights, scales = quantize_rows(cosines / np.float32(k))
    found = Neighbours(rows=rows, weights=weights, scales=scales)
    return found.reordered(np.argsort(index.order))


def history_of(
    bundle: Bundle, past: tuple[list[str], NDArray[np.int32], NDArray[np.int64]]
) -> History:
    """Return a user's events as rows of a release."""
    ids, events, ts = past
    return History(np.array([bundle.row_of(one) for one in ids], np.int32), events, ts)


def write(
    base: Bundle, source: Source, n: int, recall: float, out: Path, seed: int
) -> tuple[Floats32, BuiltIndex, int]:
    """Write a release of n items with the models of `base`.

    Args:
        base: the release of the run; if it has neighbours, as many are drawn for each item.
        source: its vectors, items and users.
        n: items, at least the run's.
        recall: share of the users' best items that must lie in the cells read.
        out: the bundle folder.
        seed: of what is drawn.

    Returns:
        float32 [n, d], the vectors never rounded, in the release's row order; its index; the
        cells that it reads.
    """
    vectors, start = extended(source.vectors, n, seed)
    items = made_items(source.items, start, seed)
    rng = np.random.default_rng(seed)
    popularity = source.popularity[start] * rng.random((n, 1), np.float32)
    popularity[: len(source.items)] = source.popularity
    index = build_index(vectors, items.ids, cells_for(n), seed)
    users = source.users[: len(source.users) // 2]
    probes = choose_probes(index, vectors, users, base.policy.candidates, recall).probes
    policy = replace(base.policy, probes=probes)
    k = base.spec.neighbours
    neighbours = drawn_neighbours(vectors, index, k) if k else None
    with BundleWriter(out, force=True) as writer:
        available = np.ones(n, np.bool_)
        add_items(writer, base.spec, items, index, popularity, available, neighbours)
        for entry in base.manifest.files:
            if entry.kind == "model":
                writer.add(entry.name, base.read(entry.name), "model", **dict(entry.meta))
        writer.add("feature_spec.json", base.read("feature_spec.json"), "json")
        writer.add("policy.json", canonical_json(policy.to_json()), "json")
        writer.finish(name=f"device-{n}", recipe_name="device", created_utc=source.now_utc)
    return vectors[index.order], index, probes
