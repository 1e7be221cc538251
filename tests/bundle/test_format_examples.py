"""The worked examples of FORMAT.md are what the code computes."""

import lzma
import re
import struct
import zlib

import numpy as np
import pytest

from pocketrec_bundle.candidates import merged
from pocketrec_bundle.declared import Feature, FittedFeature, FittedFeatures
from pocketrec_bundle.declared.encoded import Encoded, encoded_vectors
from pocketrec_bundle.declared.write import feature_files, in_memory
from pocketrec_bundle.encoding.arrays import HEADER_BYTES, encode_array, parse_header
from pocketrec_bundle.encoding.cell_order import CellOrder
from pocketrec_bundle.encoding.delta import COPY, DIFFERENCE, apply_delta
from pocketrec_bundle.encoding.sorted_ids import SortedIds, front_coded
from pocketrec_bundle.features import (
    CONTEXT,
    NEIGHBOUR_PAIR,
    PAIR,
    REPEAT_PAIR,
    FeatureSpec,
    History,
    tower_inputs,
    used_rows,
)
from pocketrec_bundle.neighbours import Neighbours
from pocketrec_bundle.ranker_features import ItemColumns, Request, ranker_features
from pocketrec_edge.engines.select import is_older
from pocketrec_edge.sync.rollout import bucket

USER = np.array([0.6, 0.8], np.float32)
NOW_UTC = 1_700_000_000


@pytest.fixture
def page(repository) -> str:
    return (repository / "bundle" / "FORMAT.md").read_text()


def section(page: str, heading: str) -> str:
    """The text below a heading, down to the next one."""
    assert page.count(f"\n{heading}\n") == 1
    return page.partition(f"\n{heading}\n")[2].partition("\n#")[0]


def table(text: str, *columns: str) -> list[list[str]]:
    """The cells of the one table that has exactly these columns, without backticks."""
    head = "| " + " | ".join(columns) + " |\n"
    assert text.count(head) == 1
    lines = text.partition(head)[2].partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip().replace("`", "") for cell in line.split("|")[1:-1]] for line in lines]


def numbers(text: str) -> list[float]:
    return [float(part) for part in re.split(r"[,;] ", text)]


def hex_dump(text: str) -> bytes:
    """The bytes of the one `hex` block; each line has its offset, bytes, and a note."""
    (block,) = re.findall(r"```hex\n(.*?)```", text, re.DOTALL)
    found = b""
    for line in block.splitlines():
        offset, _, rest = line.partition("  ")
        assert int(offset, 16) == len(found)
        digits = re.match(r"(?:[0-9a-f]{2} {1,2})*[0-9a-f]{2}(?= |$)", rest)
        assert digits is not None
        found += bytes.fromhex(digits[0])
    return found


def test_the_array_file_is_that_of_the_writer(page):
    text = section(page, "## Array file")
    shown = hex_dump(text)
    array = np.array([0, 1, 3], np.int32)
    assert shown == encode_array(array)
    assert f"`{array.tolist()}`, {len(shown)} bytes" in text
    assert parse_header("", shown[:HEADER_BYTES], len(shown), 99) == (array.dtype, (3,))


def test_the_three_ids_have_these_shapes_bytes_and_rows(page):
    text = section(page, "#### Items, version 2")
    rows = table(
        text, "rank", "id", "`items/id_shapes`", "bytes it adds", "`items/id_cells`", "row"
    )
    ids = [cells[1] for cells in rows]
    shapes, data = front_coded(ids)
    assert [cells[2] for cells in rows] == [f"{shared}, {added}" for shared, added in shapes]
    assert " ".join(cells[3] for cells in rows) == data.tobytes().hex(" ")
    assert f"`items/id_bytes` is `{data.tobytes().hex(' ')}`" in text
    offsets = re.search(r"`index/offsets` = `\[(.+?)\]`", text)
    assert offsets is not None
    cells = np.array([int(row[4]) for row in rows], np.uint8)
    order = CellOrder("cells", cells, np.array(numbers(offsets[1]), np.int32))
    found = SortedIds("ids", shapes, data)
    for rank, (shown_rank, item_id, *_, row) in enumerate(rows):
        assert (int(shown_rank), found.at(rank), found.rank_of(item_id)) == (rank, item_id, rank)
        assert (order.row_of(rank), order.rank_of(int(row))) == (int(row), rank)


@pytest.fixture
def example(page) -> str:
    return section(page, "### Example of a feature row")


@pytest.fixture
def small(example) -> FeatureSpec:
    """The spec that the example states."""
    sizes = {name: float(value) for name, value in re.findall(r"\b([dLKRQ]) = (\d+)", example)}
    lists = dict(re.findall(r"`(event_types|categories)` = `\[(.+?)\]`", example))
    decay = re.search(r"`neighbour_decay` = ([\d.]+)", example)
    assert decay is not None
    return FeatureSpec(
        dim=int(sizes["d"]),
        max_history=int(sizes["L"]),
        max_categories=int(sizes["K"]),
        recent=int(sizes["R"]),
        neighbours=int(sizes["Q"]),
        neighbour_decay=float(decay[1]),
        event_types=tuple(re.findall(r"\w+", lists["event_types"])),
        categories=tuple(re.findall(r"\w+", lists["categories"])),
        heads=("engage",),
        head_weights=(1.0,),
        candidates=3,
        pair=(*PAIR, *NEIGHBOUR_PAIR, *REPEAT_PAIR),
    )


@pytest.fixture
def items(example) -> list[list[str]]:
    header = "row", "id", "vector", "categories", "popularity, year, price", "neighbour"
    return table(example, *header, "its weight")


@pytest.fixture
def history(example, items, small) -> History:
    row_of = {cells[1]: int(cells[0]) for cells in items}
    log = table(example, "id", "type", "ts")
    known = [(row_of[one], event, int(ts)) for one, event, ts in log if one in row_of]
    assert len(log) - len(known) == 1
    return History(
        np.array([row for row, _, _ in known], np.int32),
        np.array([small.event_types.index(event) for _, event, _ in known], np.int32),
        np.array([ts for *_, ts in known], np.int64),
    )


def vectors(items: list[list[str]]) -> np.ndarray:
    return np.array([numbers(cells[2]) for cells in items], np.float32)


def test_the_tower_s_inputs_are_those_of_the_example(example, small, items, history):
    found = tower_inputs(small, history, vectors(items)[used_rows(small, history)], NOW_UTC)
    shown = {name: numbers(value) for name, value in table(example, "input", "value")}
    assert f"Now is {NOW_UTC}, a Tuesday at 22:13:20 UTC" in example
    assert shown == {name: value.ravel().tolist() for name, value in found.items()}


def test_the_ranker_s_inputs_are_those_of_the_example(example, small, items, history):
    columns = ItemColumns(
        categories=np.array([numbers(cells[3]) for cells in items], np.int32),
        numeric=np.array([numbers(cells[4]) for cells in items], np.float32),
        neighbours=Neighbours(
            rows=np.array([[int(cells[5])] for cells in items]),
            weights=np.array([[8 * float(cells[6])] for cells in items]).astype(np.int8),
            scales=np.full(len(items), 1 / 8, np.float32),
        ),
    )
    known = vectors(items)
    candidates = np.array([2, 1, 0])
    asked = Request(history, NOW_UTC, USER[None], known[used_rows(small, history)])
    found = ranker_features(small, columns, asked, candidates, known[candidates])
    shown = table(example, "column", "value")
    assert tuple(name for name, _ in shown) == CONTEXT
    expected = pytest.approx([float(value) for _, value in shown], abs=1e-6)
    assert found["context"][0].tolist() == expected
    pairs = {name: cells for name, *cells in table(example, "column", "row 2", "row 1", "row 0")}
    assert pairs.keys() == {*small.pair}
    for name, column in zip(small.pair, found["pair"].T, strict=True):
        assert column.tolist() == pytest.approx([*map(float, pairs[name])], abs=1e-6), name


def test_runtime_versions_compare_as_in_the_example(page):
    rows = table(section(page, "### Runtime versions"), "installed", "minimum", "result")
    assert len(rows) == 7
    for installed, minimum, result in rows:
        assert is_older(installed, minimum) is {"open": False, "leave out": True}[result]


def test_forced_rows_come_in_as_in_the_example(page):
    text = section(page, "### Forced rows")
    rows = table(text, "forced", "searched", "candidates, before they are sorted")
    limit = re.search(r"with c = (\d+)", text)
    assert len(rows) == 4 and limit is not None
    for forced, searched, expected in rows:
        lists = [[int(n) for n in cell.split(", ") if n] for cell in (forced, searched, expected)]
        first, others = (np.array(one, np.int32) for one in lists[:2])
        assert merged(first, others, int(limit[1])).tolist() == lists[2]


def packed(content: bytes) -> bytes:
    return lzma.compress(content, check=lzma.CHECK_NONE)


def test_the_delta_of_copies_gives_the_new_file(page):
    text = section(page, "## Deltas")
    content, old = hex_dump(text), bytes(range(40))
    assert f"`00 01 .. {old[-1]:02x}`" in text and f"before xz, {len(content)} bytes" in text
    assert struct.unpack_from("<I", content) == (2,)
    new = b"\xaa" + old[:16] + b"\xbb\xcc" + old[20:36]
    assert f"The new file, {len(new)} bytes" in text
    assert apply_delta(COPY, packed(content), old, len(new)) == new


def test_the_delta_of_differences_gives_the_new_file(page):
    shown = re.search(
        r"`difference`: old `(.+?)`, content `(.+?)`, new `(.+?)`", section(page, "## Deltas")
    )
    assert shown is not None
    old, content, new = map(bytes.fromhex, shown.groups())
    assert apply_delta(DIFFERENCE, packed(content), old, len(new)) == new


def test_the_device_of_the_example_has_this_place_in_a_release(page):
    shown = re.search(
        r"bucket id `(\w+)`, manifest\s`(\w+)`: u = ([\d.]+)\. The device is within (\d+)%,\s"
        r"and not within (\d+)%",
        section(page, "### Percent"),
    )
    assert shown is not None
    u = bucket(bytes.fromhex(shown[1]), shown[2])
    assert f"{u:.12f}" == shown[3]
    assert int(shown[5]) / 100 <= u < int(shown[4]) / 100


def test_the_example_of_item_features_is_what_a_ranker_reads(page):
    text = section(page, "### Item features")
    (crc,) = re.findall(r"CRC-32 of `zed` is (\d+)", text)
    assert int(crc) == zlib.crc32(b"zed")
    brand = FittedFeature(
        name="brand",
        feature=Feature(kind="category", hash_buckets=2, ranker=True),
        names=("acme", "bolt"),
    )
    items = (
        brand,
        FittedFeature(name="margin", feature=Feature(kind="number", ranker=True)),
        FittedFeature(name="image", feature=Feature(kind="vector", length=2, ranker=True)),
    )
    rows = table(
        text, "row", "brand", "margin", "`items/features`", "`item_codes`", "`item_numbers`"
    )
    rows *= 4  # so that a table pays
    values = {
        "brand": Encoded(
            brand.codes([() if each[1] == "unknown" else (each[1],) for each in rows])
        ),
        "margin": Encoded(
            np.array([np.nan if each[2] == "unknown" else float(each[2]) for each in rows], "f4")
        ),
        "image": encoded_vectors(np.ones((len(rows), 2), np.float32)),
    }
    features, arrays = feature_files(FittedFeatures(items=items), values, _TableOfThePage())
    assert f"`record` = `{list(features.record)}`" in text.replace("\n", " ")
    assert arrays["items/feature.1.values"].tolist() == [-3, 0, 4]
    assert arrays["items/feature.1.known"].tobytes().hex() == "05"
    assert [bytes(one).hex() for one in arrays["items/features"]] == [each[3] for each in rows]
    found = in_memory(FittedFeatures(items=items), values, len(rows)).inputs(np.arange(len(rows)))
    assert found["item_codes"].tolist() == [[int(each[4])] for each in rows]
    assert found["item_numbers"].tolist() == [numbers(each[5]) for each in rows]
    assert found["item_embeddings"].shape == (len(rows), 2)


class _TableOfThePage:
    """A previous release, whose table the example's release has too."""

    def __init__(self):
        self.arrays = {
            "items/feature.1.values": np.array([-3, 0, 4], np.float32),
            "items/feature.1.known": np.array([5], np.uint8),
        }

    def array(self, name):
        return self.arrays[name]

    def lists(self, name):
        return name in self.arrays
