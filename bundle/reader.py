"""Open a bundle, from its folder or from a device's store, and hand out what is inside.

Every file is checked for size and SHA-256 before any other code sees its bytes.
"""

import codecs
import stat
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bundle.arrays import Array, open_array
from bundle.catalogue import CatalogueItem, read_catalogue
from bundle.errors import BundleInvalid
from bundle.features import FeatureSpec
from bundle.files import sha256_file
from bundle.manifest import MAX_MANIFEST_BYTES, FileEntry, Manifest, parse_manifest
from bundle.policy import Policy
from bundle.strict_json import MAX_JSON_BYTES, MAX_NUMBER, parse_json

MAX_POPULAR = 1000
_CHUNK_BYTES = 1 << 20
AVAILABLE = 1
"""Bit 0 of `items/flags`: the item may be recommended."""


class Bundle:
    """A verified release. Arrays are memory-mapped; nothing is loaded before it is asked for."""

    def __init__(self, manifest: Manifest, blob_dir: Path) -> None:
        self.manifest = manifest
        self._blob_dir = blob_dir
        self._arrays: dict[str, Array] = {}
        self.spec = FeatureSpec.from_json(self.json("feature_spec.json"))
        self.policy = Policy.from_json(self.json("policy.json"))
        self.item_count = len(self.array("items/flags"))
        self._check_shapes()

    def path(self, name: str) -> Path:
        """Return the file behind a logical name.

        Raises:
            BundleInvalid: the release has no such file.
        """
        return self._blob_dir / self.manifest.entry(name).sha256

    def has(self, name: str) -> bool:
        """Whether the file of a name is here; on a phone models of other runtimes are not."""
        return self.path(name).exists()

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises:
            BundleInvalid: the release has no such file, or it cannot be read.
        """
        try:
            return self.path(name).read_bytes()
        except OSError as err:
            raise BundleInvalid(f"{name}: cannot be read ({err.strerror or err})") from err

    def json(self, name: str) -> Any:
        """Return a JSON file, parsed.

        Raises:
            BundleInvalid: it is missing, above 8 MiB, or not JSON.
        """
        if self.manifest.entry(name).bytes > MAX_JSON_BYTES:
            raise BundleInvalid(f"{name}: exceeds {MAX_JSON_BYTES} bytes")
        return parse_json(name, self.read(name))

    def array(self, name: str) -> Array:
        """Return an array file, memory-mapped read-only, the same one each time.

        Raises:
            BundleInvalid: it is missing or its header is wrong.
        """
        if name not in self._arrays:
            self._arrays[name] = open_array(self.path(name))
        return self._arrays[name]

    @cached_property
    def _id_index(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        return (
            self.array("items/ids_offsets"),
            self.array("items/ids_bytes"),
            self.array("items/ids_order"),
        )

    def item_id(self, row: int) -> str:
        """Return the app's own id of an item row."""
        return self._id_bytes(row).decode("utf-8", errors="replace")

    def _id_bytes(self, row: int) -> bytes:
        offsets, data, _ = self._id_index
        return data[int(offsets[row]) : int(offsets[row + 1])].tobytes()

    def row_of(self, item_id: str) -> int:
        """Return the row of an item id, or -1; a binary search over `items/ids_order`."""
        order = self._id_index[2]
        # An id that is no Unicode text has bytes that no id of a release can have.
        wanted, low, high = item_id.encode("utf-8", errors="surrogatepass"), 0, len(order)
        while low < high:
            middle = (low + high) // 2
            if self._id_bytes(int(order[middle])) < wanted:
                low = middle + 1
            else:
                high = middle
        if low < len(order) and self._id_bytes(int(order[low])) == wanted:
            return int(order[low])
        return -1

    def catalogue(self, rows: list[int]) -> list[CatalogueItem]:
        """Return what to display for some rows, in their order; rows unknown there are left out.

        Raises:
            BundleInvalid: the catalogue is not a readable SQLite file.
        """
        return read_catalogue(self.path("catalogue.sqlite"), rows)

    def _check_shapes(self) -> None:
        """Check that the arrays agree with each other, so that no row number can go astray."""
        n, spec = self.item_count, self.spec
        cells, popular = self.array("index/offsets"), self.array("items/popular")
        ids_bytes = self.array("items/ids_bytes")
        expected: dict[str, tuple[str, tuple[int, ...]]] = {
            "index/centroids": ("f4", (len(cells) - 1, spec.dim)),
            "index/offsets": ("i4", cells.shape[:1]),
            "index/rows": ("i1", (n, spec.dim)),
            "index/scales": ("f4", (n,)),
            "items/ids_offsets": ("i4", (n + 1,)),
            "items/ids_bytes": ("u1", ids_bytes.shape[:1]),
            "items/ids_order": ("i4", (n,)),
            "items/categories": ("u2", (n, spec.max_categories)),
            "items/numeric": ("f4", (n, len(spec.numeric))),
            "items/flags": ("u1", (n,)),
            "items/popular": ("i4", popular.shape[:1]),
        }
        if spec.neighbours:
            expected["items/neighbours"] = ("i4", (n, spec.neighbours))
            expected["items/neighbour_weights"] = ("i1", (n, spec.neighbours))
            expected["items/neighbour_scales"] = ("f4", (n,))
        for name, (code, shape) in expected.items():
            array = self.array(name)
            if array.dtype.str[1:] != code or array.shape != shape:
                raise BundleInvalid(
                    f"{name}: {array.dtype.str[1:]}{list(array.shape)}, "
                    f"expected {code}{list(shape)}"
                )
        _check_offsets("index/offsets", cells, n)
        _check_offsets("items/ids_offsets", self._id_index[0], len(ids_bytes))
        _check_ids(self._id_index[0], ids_bytes)
        if len(cells) < 2 or len(popular) > MAX_POPULAR:
            raise BundleInvalid(f"no cells, or more than {MAX_POPULAR} popular items")
        limits = {
            "items/ids_order": n,
            "items/popular": n,
            "items/categories": len(spec.categories) + 1,
        }
        floats = ["index/centroids", "index/scales", "items/numeric"]
        if spec.neighbours:
            limits["items/neighbours"] = n
            floats.append("items/neighbour_scales")
        for name, limit in limits.items():
            values = self.array(name)
            if values.size and not 0 <= int(values.min()) <= int(values.max()) < limit:
                raise BundleInvalid(f"{name}: a value lies outside 0..{limit - 1}")
        for name in floats:
            values = self.array(name)
            if values.size and not -MAX_NUMBER <= values.min() <= values.max() <= MAX_NUMBER:
                raise BundleInvalid(f"{name}: a number is not within {MAX_NUMBER:g} of 0")


def _check_offsets(name: str, offsets: NDArray[Any], end: int) -> None:
    # Compared, not subtracted: differences of hostile offsets wrap round and look right.
    falls = (offsets[1:] < offsets[:-1]).any()
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != end or falls:
        raise BundleInvalid(f"{name}: offsets must rise from 0 to {end}")


def _check_ids(offsets: NDArray[Any], data: NDArray[Any]) -> None:
    """Check that all ids together are UTF-8, and that none begins inside a letter."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(data), _CHUNK_BYTES):
            decoder.decode(data[start : start + _CHUNK_BYTES].tobytes())
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as err:
        raise BundleInvalid(f"items/ids_bytes: not UTF-8 ({err.reason})") from err
    starts = offsets[offsets < len(data)]
    if (data[starts] & 0xC0 == 0x80).any():
        raise BundleInvalid("items/ids_offsets: an id begins inside a letter")


def open_bundle(folder: Path, *, verify: bool = True) -> Bundle:
    """Open a bundle folder (`manifest.json` and `files/`).

    Raises:
        BundleInvalid: no bundle there, or it fails a check.
    """
    return open_files(parse_manifest(manifest_of(folder)), folder / "files", verify=verify)


def manifest_of(folder: Path) -> bytes:
    """Return the bytes of a bundle folder's manifest; of one that is too large, a part.

    Raises:
        BundleInvalid: there is none.
    """
    path = folder / "manifest.json"
    try:
        _size(path)
        with path.open("rb") as stream:
            return stream.read(MAX_MANIFEST_BYTES + 1)
    except OSError as err:
        raise BundleInvalid(f"{folder}: not a bundle, no readable manifest.json") from err


def open_files(
    manifest: Manifest, blob_dir: Path, *, verify: bool = True, all_models: bool = True
) -> Bundle:
    """Open a release whose files lie in `blob_dir` under their SHA-256.

    Args:
        manifest: a parsed, and on a device signed, manifest.
        blob_dir: folder of content-addressed files.
        verify: hash every file; without it only sizes are checked (they were hashed at install).
        all_models: False where model files may be missing: a phone has those that it runs.

    Raises:
        BundleInvalid: a file is missing or fails its check.
    """
    hashed: set[str] = set()
    for entry in manifest.files:  # 4096 names of one large file cost one hash
        if not all_models and entry.kind == "model" and not (blob_dir / entry.sha256).exists():
            continue
        verify_file(entry, blob_dir / entry.sha256, hash_it=verify and entry.sha256 not in hashed)
        hashed.add(entry.sha256)
    return Bundle(manifest, blob_dir)


def verify_file(entry: FileEntry, path: Path, *, hash_it: bool = True) -> None:
    """Check one file against its entry: size first, then SHA-256.

    Raises:
        BundleInvalid: it is missing, of another size, or of another hash.
    """
    try:
        size = _size(path)
        if size != entry.bytes:
            raise BundleInvalid(f"{entry.name}: {size} bytes, the manifest says {entry.bytes}")
        if hash_it and sha256_file(path) != entry.sha256:
            raise BundleInvalid(f"{entry.name}: its SHA-256 differs from the manifest's")
    except OSError as err:
        raise BundleInvalid(f"{entry.name}: missing or unreadable in the bundle") from err


def _size(path: Path) -> int:
    """Size of a file in bytes; a pipe or device, on which reading might never end, is an error."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{path.name} is no file")
    return found.st_size
