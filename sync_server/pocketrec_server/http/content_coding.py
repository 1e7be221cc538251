"""Decode the Content-Encoding of uploads up to a limit (RFC 9110, section 8.4).

The output comes in pieces, and decoding stops at the first byte above the limit. So memory use is
bounded, also for a decompression bomb.
"""

import zlib
from collections.abc import Iterator

import zstandard

from pocketrec_server.errors import UploadRefusedError

CODINGS = ("gzip", "zstd")
_PIECE = 1 << 16
_WINDOW = 8 << 20  # what zstd decoders must at least support (RFC 8878, section 3.1.1.1.2)


def decoded(data: bytes, coding: str, max_bytes: int) -> bytes:
    """Return the content of a body.

    Args:
        data: the encoded body.
        coding: value of Content-Encoding; "" and "identity" leave the body unchanged.
        max_bytes: maximum size of the content.

    Raises:
        UploadRefusedError: the coding is unknown, the body is not valid, or the content has more
            than `max_bytes`.
    """
    match coding.strip().lower():
        case "" | "identity":
            pieces: Iterator[bytes] = iter([data])
        case "gzip" | "x-gzip":
            pieces = _gunzipped(data)
        case "zstd":
            pieces = _unzstd(data)
        case _:
            raise UploadRefusedError(415, f"Content-Encoding must be one of {', '.join(CODINGS)}")
    content = bytearray()
    try:
        for piece in pieces:
            content += piece
            if len(content) > max_bytes:
                raise UploadRefusedError(413, f"more than {max_bytes} bytes of content")
    except (zlib.error, zstandard.ZstdError) as err:
        raise UploadRefusedError(400, f"the body is not {coding}: {err}") from err
    return bytes(content)


def _gunzipped(data: bytes) -> Iterator[bytes]:
    decoder = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    while not decoder.eof:
        piece = decoder.decompress(data, _PIECE)
        if not piece and not decoder.unconsumed_tail:
            raise zlib.error("it ends too early")
        yield piece
        data = decoder.unconsumed_tail
    if decoder.unused_data:
        raise zlib.error("something follows its end")


def _unzstd(data: bytes) -> Iterator[bytes]:
    decoder = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    with decoder.stream_reader(data) as stream:
        while piece := stream.read(_PIECE):
            yield piece
