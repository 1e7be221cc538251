import pytest

from pocketrec_bundle.errors import BundleInvalidError, InputError
from pocketrec_bundle.items.catalogue import (
    MAX_ITEM_BYTES,
    Catalogue,
    CatalogueItem,
    write_catalogue,
)
from pocketrec_export.conformance.hostile_catalogues import hostile_catalogues

ITEM = CatalogueItem(0, "a", "T", "c", 1.5, 1990)
HARMLESS = {"empty", "trigger", "index on an expression", "UTF-16"}


def test_items_come_back_in_the_order_asked(tmp_path):
    other = CatalogueItem(7, "é", "", "", None, None)
    write_catalogue(tmp_path / "c", [other, ITEM])
    assert Catalogue(tmp_path / "c").items([0, 5, 7, 0]) == [ITEM, other, ITEM]


@pytest.mark.parametrize("name", hostile_catalogues())
def test_a_hostile_catalogue_is_refused_or_does_no_harm(tmp_path, name):
    path = tmp_path / "c"
    path.write_bytes(hostile_catalogues()[name])
    if name in HARMLESS:
        assert all(item.row == 0 for item in Catalogue(path).items([0, 1]))
        return
    with pytest.raises(BundleInvalidError, match=r"^catalogue\.sqlite: .{1,250}$"):
        Catalogue(path).items([0, 1])


def test_a_thousand_items_are_within_the_steps_allowed(tmp_path):
    items = [CatalogueItem(row, str(row), "T" * 100, "c", 1.0, 1) for row in range(1000)]
    write_catalogue(tmp_path / "c", items)
    assert Catalogue(tmp_path / "c").items(range(1000)) == items


def test_a_text_that_no_reader_would_take_is_not_written(tmp_path):
    long = CatalogueItem(1, "a", "T" * MAX_ITEM_BYTES, "c", None, None)
    with pytest.raises(InputError, match=r"item .a.: .* 65536 bytes"):
        write_catalogue(tmp_path / "c", [ITEM, long])


def test_what_fits_is_written_and_read(tmp_path):
    item = CatalogueItem(0, "a", "T" * (MAX_ITEM_BYTES - 100), "c", None, None)
    write_catalogue(tmp_path / "c", [item])
    assert Catalogue(tmp_path / "c").items([0]) == [item]


def test_the_whole_catalogue_is_read_in_row_order_whatever_order_it_was_written_in(tmp_path):
    items = [CatalogueItem(row, str(row), "T" * 100, "c", 1.0, 1) for row in range(3000)]
    write_catalogue(tmp_path / "one", items)
    write_catalogue(tmp_path / "two", reversed(items))
    assert list(Catalogue(tmp_path / "two").all_items(3000)) == items
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    for wrong in (2999, 3001):
        with pytest.raises(BundleInvalidError, match="rows"):
            list(Catalogue(tmp_path / "one").all_items(wrong))


def test_a_catalogue_held_open_does_not_run_out_of_steps(tmp_path):
    items = [CatalogueItem(row, str(row), "T" * 100, "c", 1.0, 1) for row in range(1000)]
    write_catalogue(tmp_path / "c", items)
    catalogue = Catalogue(tmp_path / "c")
    for _ in range(50):
        assert catalogue.items([7, 8]) == items[7:9]
