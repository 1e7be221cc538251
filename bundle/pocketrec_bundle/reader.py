"""Open a bundle, from its folder or from a device's store.

The size and SHA-256 of every file are checked before any other code reads its bytes.
"""

import hashlib
import stat
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.declared.fitted import FILE as FEATURES_FILE
from pocketrec_bundle.declared.fitted import FittedFeatures
from pocketrec_bundle.declared.item_features import ItemFeatures, open_item_features
from pocketrec_bundle.disk.files import sha256_file
from pocketrec_bundle.encoding.array_checks import (
    expect_below,
    expect_finite,
    expect_form,
    expect_rising,
)
from pocketrec_bundle.encoding.arrays import Array, open_array
from pocketrec_bundle.encoding.columns import Column
from pocketrec_bundle.encoding.strict_json import MAX_JSON_BYTES, parse_json
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.items.audience import open_audience
from pocketrec_bundle.items.catalogue import Catalogue, CatalogueItem
from pocketrec_bundle.items.cohorts import Cohorts
from pocketrec_bundle.manifest import MAX_MANIFEST_BYTES, FileEntry, Manifest, parse_manifest
from pocketrec_bundle.objectives.heads import FILE as OBJECTIVES_FILE
from pocketrec_bundle.objectives.heads import Objectives
from pocketrec_bundle.settings.campaigns import FILE as CAMPAIGNS_FILE
from pocketrec_bundle.settings.campaigns import Campaigns
from pocketrec_bundle.settings.policy import Policy
from pocketrec_bundle.settings.rules import FILE as RULES_FILE
from pocketrec_bundle.settings.rules import Rules
from pocketrec_bundle.versions import open_items

MAX_POPULAR = 1000
LARGE_BYTES = 1 << 20
"""Files of `CHECKED_IN_FORM` of at least this size may be hashed after the first answer."""
CHECKED_IN_FORM = ("array", "catalogue")
"""Kinds whose readers check every value: a wrong byte gives at most a wrong answer."""
REMEMBERED_IDS = 8192
"""Ids and rows kept in a cache; a look-up among a million items takes 30 us."""
RULES_SINCE = 2
"""The format version from which a reader looks for `rules.json` and `campaigns.json`."""
COHORTS_SINCE = 2
"""The format version from which a reader looks for the cohort lists."""
OBJECTIVES_SINCE = 3
"""The format version from which a reader looks for `objectives.json`."""
FEATURES_SINCE = 3
"""The format version from which a reader looks for `features.json`."""
_NOTHING: Mapping[str, BundleInvalidError] = MappingProxyType({})


class Bundle:
    """A verified release. Arrays are memory-mapped and loaded on first use.

    Attributes:
        manifest: of the release.
        spec: its feature spec.
        policy: its re-ranking policy.
        rules: its rules; None: the policy decides alone.
        campaigns: its campaigns.
        objectives: what its heads mean, with the formula; None: the head weights decide.
        features: its declared features that models read beside the columns of the spec.
        item_features: their values; None: it has none.
        cohorts: its cohort lists; None: it has none.
        audience: regions and age ratings of its items.
        item_count: number of items, N.
        sha256: hash of the manifest, 64 hex digits; "" for a draft that has no manifest yet.
        unhashed: files that the caller must still hash, see `open_files`.
        damaged: damaged files, which are not used: name -> the error.
    """

    def __init__(
        self,
        manifest: Manifest,
        blob_dir: Path,
        unhashed: tuple[FileEntry, ...] = (),
        damaged: Mapping[str, BundleInvalidError] = _NOTHING,
        sha256: str = "",
    ) -> None:
        self.manifest, self.unhashed, self.damaged = manifest, unhashed, damaged
        self.sha256 = sha256
        self._blob_dir = blob_dir
        self._arrays: dict[str, Array] = {}
        self.spec = FeatureSpec.from_json(self.json("feature_spec.json"))
        self.policy = Policy.from_json(self.json("policy.json"))
        self.rules = self._read_rules()
        self.campaigns = self._read_campaigns()
        self.objectives = self._read_objectives()
        self.features = self._read_features()
        self.item_count = len(self.array("index/rows"))
        self._check_arrays()
        self.cohorts = self._read_cohorts()
        offsets = self.array("index/offsets")
        self._items = open_items(manifest.format_version, self, self.spec, offsets)
        self.audience = open_audience(manifest.format_version, self, self.item_count)
        self.item_features: ItemFeatures | None = None
        if self.features.items:
            self.item_features = open_item_features(self.features, self, self.item_count)
        self._id_at = lru_cache(REMEMBERED_IDS)(self._items.ids.at)
        self._row_of = lru_cache(REMEMBERED_IDS)(self._items.ids.row_of)
        self._catalogue: Catalogue | None = None

    def path(self, name: str) -> Path:
        """Return the file behind a logical name.

        Raises:
            BundleInvalidError: the release has no such file, or it is damaged.
        """
        if name in self.damaged:
            raise self.damaged[name].with_traceback(None)
        return self._blob_dir / self.manifest.entry(name).sha256

    def has(self, name: str) -> bool:
        """Whether the file of a name is here and sound; a device lacks models it does not run."""
        return name not in self.damaged and self.path(name).exists()

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises:
            BundleInvalidError: the release has no such file, or it cannot be read.
        """
        try:
            return self.path(name).read_bytes()
        except OSError as err:
            raise BundleInvalidError(
                f"{name}: cannot be read ({err.strerror or err})", code="file_missing"
            ) from err

    def json(self, name: str) -> Any:
        """Return a JSON file, parsed.

        Raises:
            BundleInvalidError: it is missing, above 8 MiB, or not JSON.
        """
        if self.manifest.entry(name).bytes > MAX_JSON_BYTES:
            raise BundleInvalidError(f"{name}: exceeds {MAX_JSON_BYTES} bytes", code="json_size")
        return parse_json(name, self.read(name))

    def array(self, name: str) -> Array:
        """Return an array file, memory-mapped read-only; each call returns the same object.

        Raises:
            BundleInvalidError: it is missing or its header is wrong.
        """
        if name not in self._arrays:
            self._arrays[name] = open_array(self.path(name))
        return self._arrays[name]

    def lists(self, name: str) -> bool:
        """Whether the release has a file of that logical name."""
        return any(entry.name == name for entry in self.manifest.files)

    def item_id(self, row: int) -> str:
        """Return the app's own id of an item row 0..N-1."""
        return self._id_at(row)

    def row_of(self, item_id: str) -> int:
        """Return the row of an item id, or -1; a binary search."""
        return self._row_of(item_id)

    def item_ids(self) -> list[str]:
        """Return all ids in row order. Slow: use `item_id` for single ids."""
        return self._items.ids.all()

    @property
    def scales(self) -> Column:
        """The scale of each row of `index/rows`, float32 [N]."""
        return self._items.scales

    @property
    def categories(self) -> Column:
        """Category codes, integer [N, K], 0 = padding; `categories[rows]` reads these rows only."""
        return self._items.categories

    @property
    def numeric(self) -> Column:
        """Numeric columns, float32 [N, M], -1 = unknown; read like `categories`."""
        return self._items.numeric

    @property
    def available(self) -> NDArray[np.bool_]:
        """Whether each item may be recommended, bool [N]; False for withdrawn items."""
        return self._items.available

    def catalogue(self, rows: list[int]) -> list[CatalogueItem]:
        """Return the texts of some rows, in their order; rows without an entry are left out.

        Raises:
            BundleInvalidError: the catalogue is damaged, or not a readable SQLite file.
        """
        if self._catalogue is None:
            self._catalogue = Catalogue(self.path("catalogue.sqlite"))
        return self._catalogue.items(rows)

    def _read_rules(self) -> Rules | None:
        """Return the rules that replace the policy's, if the release has any."""
        if self.manifest.format_version < RULES_SINCE or not self.lists(RULES_FILE):
            return None
        return Rules.from_json(self.json(RULES_FILE), self.spec)

    def _read_campaigns(self) -> Campaigns:
        if self.manifest.format_version < RULES_SINCE or not self.lists(CAMPAIGNS_FILE):
            return Campaigns(campaigns=())
        return Campaigns.from_json(self.json(CAMPAIGNS_FILE))

    def _read_objectives(self) -> Objectives | None:
        if self.manifest.format_version < OBJECTIVES_SINCE or not self.lists(OBJECTIVES_FILE):
            return None
        spec = self.spec
        return Objectives.from_json(
            self.json(OBJECTIVES_FILE), spec.heads, spec.numeric, spec.event_types
        )

    def _read_features(self) -> FittedFeatures:
        if self.manifest.format_version < FEATURES_SINCE or not self.lists(FEATURES_FILE):
            return FittedFeatures()
        features = FittedFeatures.from_json(self.json(FEATURES_FILE))
        if twice := {one.name for one in features.items} & {*self.spec.numeric}:
            raise BundleInvalidError(
                f"{FEATURES_FILE}: {sorted(twice)} are numeric columns too", code="features_value"
            )
        if unread := [one.name for one in features.items if not one.feature.ranker]:
            raise BundleInvalidError(
                f"{FEATURES_FILE}: no model reads {unread}", code="features_value"
            )
        return features

    def _read_cohorts(self) -> Cohorts | None:
        """Return the cohort lists, if the release has any."""
        if self.manifest.format_version < COHORTS_SINCE:
            return None
        return Cohorts.of(self, self.item_count, len(self.spec.categories))

    def _check_arrays(self) -> None:
        """Check that the arrays agree, so that no row number leads outside another array."""
        n, spec = self.item_count, self.spec
        cells, popular = self.array("index/offsets"), self.array("items/popular")
        expected: dict[str, tuple[str, tuple[int, ...]]] = {
            "index/centroids": ("f4", (len(cells) - 1, spec.dim)),
            "index/offsets": ("i4", cells.shape[:1]),
            "index/rows": ("i1", (n, spec.dim)),
            "items/popular": ("i4", popular.shape[:1]),
        }
        below, finite = ["items/popular"], ["index/centroids"]
        if spec.neighbours:
            expected["items/neighbours"] = ("i4", (n, spec.neighbours))
            expected["items/neighbour_weights"] = ("i1", (n, spec.neighbours))
            expected["items/neighbour_scales"] = ("f4", (n,))
            below.append("items/neighbours")
            finite.append("items/neighbour_scales")
        for name, (code, shape) in expected.items():
            expect_form(name, self.array(name), code, shape)
        expect_rising("index/offsets", cells, n)
        if len(cells) < 2:
            raise BundleInvalidError("index/offsets: no cells", code="no_cells")
        if len(popular) > MAX_POPULAR:
            message = f"items/popular: {len(popular)} items, at most {MAX_POPULAR}"
            raise BundleInvalidError(message, code="popular_length")
        for name in below:
            expect_below(name, self.array(name), n)
        for name in finite:
            expect_finite(name, self.array(name))


def open_bundle(folder: Path, *, verify: bool = True) -> Bundle:
    """Open a bundle folder (`manifest.json` and `files/`).

    Args:
        folder: that `export_bundle` wrote.
        verify: compare every file with its SHA-256; False opens a folder that was just verified.

    Raises:
        BundleInvalidError: the folder is not a bundle, or a check fails.

    Example:
        >>> bundle = open_bundle(Path("bundle"))
        >>> bundle.manifest.name, bundle.item_count, bundle.spec.event_types
        ('tiny', 48, ('rating', 'like'))
        >>> bundle.item_id(1), bundle.row_of("item 14")
        ('item 14', 1)
    """
    data = manifest_of(folder)
    sha256 = hashlib.sha256(data).hexdigest()
    return open_files(parse_manifest(data), folder / "files", sha256=sha256, verify=verify)


def manifest_of(folder: Path) -> bytes:
    """Return the bytes of a bundle folder's manifest, at most one more than its size limit.

    Raises:
        BundleInvalidError: the folder has no readable manifest.
    """
    path = folder / "manifest.json"
    try:
        _size(path)
        with path.open("rb") as stream:
            return stream.read(MAX_MANIFEST_BYTES + 1)
    except OSError as err:
        raise BundleInvalidError(
            f"{folder}: not a bundle, no readable manifest.json", code="manifest_missing"
        ) from err


def open_files(
    manifest: Manifest,
    blob_dir: Path,
    *,
    sha256: str = "",
    verify: bool = True,
    all_models: bool = True,
    hash_large: bool = True,
    spare: Callable[[FileEntry], bool] = lambda _entry: False,
) -> Bundle:
    """Open a release whose files are named by their SHA-256 in `blob_dir`.

    Args:
        manifest: a parsed manifest; on a device, a signed one.
        blob_dir: folder of content-addressed files.
        sha256: hash of the manifest's bytes, for `Bundle.sha256`.
        verify: hash every file. False: check sizes only (the files were hashed at install).
        all_models: False: model files may be missing, as on a device.
        hash_large: False: large arrays and the catalogue are listed in `Bundle.unhashed`, and the
            caller hashes them. They were hashed at install; hashing 70 MB takes 100 ms.
        spare: whether the release works without a file. A damaged file of this kind is not used;
            it is in `Bundle.damaged`.

    Raises:
        BundleInvalidError: a file is missing or fails its check.
    """
    hashed: set[str] = set()
    unhashed: list[FileEntry] = []
    damaged: dict[str, BundleInvalidError] = {}
    for entry in manifest.files:  # 4096 names of one large file cost one hash
        if not all_models and entry.kind == "model" and not (blob_dir / entry.sha256).exists():
            continue
        later = not hash_large and entry.bytes >= LARGE_BYTES and entry.kind in CHECKED_IN_FORM
        hash_it = verify and not later and entry.sha256 not in hashed
        try:
            verify_file(entry, blob_dir / entry.sha256, hash_it=hash_it)
        except BundleInvalidError as err:
            if not spare(entry):
                raise
            damaged[entry.name] = err
            continue
        if later:
            unhashed.append(entry)
        else:
            hashed.add(entry.sha256)
    return Bundle(manifest, blob_dir, tuple(unhashed), damaged, sha256)


def verify_file(entry: FileEntry, path: Path, *, hash_it: bool = True) -> None:
    """Check one file against its entry: size first, then SHA-256.

    Raises:
        BundleInvalidError: it is missing, of another size, or of another hash.
    """
    try:
        size = _size(path)
        if size != entry.bytes:
            raise BundleInvalidError(
                f"{entry.name}: {size} bytes, the manifest says {entry.bytes}", code="file_size"
            )
        if hash_it and sha256_file(path) != entry.sha256:
            raise BundleInvalidError(
                f"{entry.name}: its SHA-256 differs from the manifest's", code="file_hash"
            )
    except OSError as err:
        raise BundleInvalidError(
            f"{entry.name}: missing or unreadable in the bundle", code="file_missing"
        ) from err


def _size(path: Path) -> int:
    """Size of a regular file in bytes; reading a pipe or device might never end."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path.name} is no file")
    return status.st_size
