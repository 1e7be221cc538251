import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pocketrec_bundle.encoding.arrays import HEADER_BYTES, encode_array, open_array
from pocketrec_bundle.errors import BundleInvalidError

CODES = ["u1", "i1", "u2", "i4", "i8", "f2", "f4"]


@given(
    st.sampled_from(CODES).flatmap(
        lambda code: hnp.arrays(
            f"<{code}", hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)
        )
    )
)
def test_round_trip_keeps_dtype_shape_and_every_bit(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("a") / "x"
    path.write_bytes(encode_array(array))
    opened = open_array(path)
    assert opened.dtype == array.dtype
    assert opened.shape == array.shape
    assert opened.tobytes() == array.tobytes()


def test_header_is_laid_out_as_the_specification_says():
    data = encode_array(np.array([[1, 2, 3]], np.int32))
    assert data[:12] == b"PRAR" + b"\x01\x00" + b"i4" + b"\x02\x00\x00\x00"
    assert struct.unpack_from("<4Q", data, 16) == (1, 3, 1, 1)
    assert struct.unpack_from("<Q", data, 48) == (12,)
    assert data[64:] == bytes([1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0])


@pytest.mark.parametrize(
    ("offset", "patch"),
    [
        (0, b"XXXX"),
        (4, b"\x02\x00"),
        (6, b"f8"),
        (8, b"\x05\x00\x00\x00"),
        (8, b"\x00\x00\x00\x00"),
        (12, b"\x01"),
        (16, b"\xff" * 8),
        (16, struct.pack("<QQ", 1 << 33, 1 << 33)),  # product wraps round in 64 bits
        (16, struct.pack("<5Q", 0, 1 << 62, 1, 1, 0)),  # nothing, in a shape that is none
        (32, struct.pack("<Q", 2)),
        (48, b"\x00"),
        (56, b"\x01"),
    ],
)
def test_each_wrong_header_field_is_refused(tmp_path, offset, patch):
    data = bytearray(encode_array(np.array([[1, 2, 3]], np.int32)))
    data[offset : offset + len(patch)] = patch
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(BundleInvalidError):
        open_array(path)


@pytest.mark.parametrize("size", [0, 1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 11])
def test_truncated_file_is_refused(tmp_path, size):
    path = tmp_path / "x"
    path.write_bytes(encode_array(np.array([1, 2, 3], np.int32))[:size])
    with pytest.raises(BundleInvalidError):
        open_array(path)


def test_payload_over_the_limit_is_refused_before_it_is_mapped(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(encode_array(np.zeros(100, np.uint8)))
    with pytest.raises(BundleInvalidError, match="limit of 99"):
        open_array(path, max_bytes=99)


def test_float64_is_not_silently_narrowed():
    with pytest.raises(ValueError, match="float64"):
        encode_array(np.zeros(3))
