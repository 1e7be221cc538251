"""Download files and metadata, with retries (exponential backoff, jitter) and resumed transfers.

A partial file is kept as `.<sha256>.part`; a later process requests only the rest (RFC 9110,
"Range"). The server is not trusted: the caller gives size and hash, from signed metadata.
"""

import random
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import urllib3
from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    LengthOrHashMismatchError,
)

from pocketrec_bundle.disk.files import remove_file, replace_file, sha256_file
from pocketrec_edge.private_files import make_folder, open_private
from pocketrec_edge.sync.http import Network, retry_after_s
from pocketrec_edge.sync.words import plain

if TYPE_CHECKING:
    from tuf.api.metadata import TargetFile

METADATA, FULL, DELTA = "metadata", "full", "delta"
_CHUNK = 1 << 15
_PACKED, _PLAIN = {"Accept-Encoding": "gzip"}, {"Accept-Encoding": "identity"}
_UNCHANGED, _BUSY = 304, 429
_TIMES_WRONG = {METADATA: 3, DELTA: 3, FULL: 2}
"""Tries for a file with a wrong hash: it may be damaged in transit or wrong on the server."""

T = TypeVar("T")


class NotReachedError(DownloadError):
    """The network failed: no response, or an incomplete one."""


class BusyError(DownloadHTTPError):
    """The server is busy; retry after `wait_s` seconds, if it sent Retry-After."""

    def __init__(self, status: int, wait_s: float) -> None:
        when = f", to come again in {wait_s:.0f} s" if wait_s else ""
        super().__init__(f"answered with {status}{when}", status)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Exponential backoff with full jitter (Brooker 2015, "Exponential backoff and jitter").

    A busy server's Retry-After is added to the wait. If it is longer than `most_s`, the sync stops.
    """

    tries: int = 4
    first_s: float = 0.25
    most_s: float = 8.0
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random

    def run(self, job: Callable[[], T]) -> T:
        """Run a job; repeat it after errors that a retry may solve."""
        for done in range(self.tries):
            try:
                return job()
            except DownloadError as err:
                asked_s = err.wait_s if isinstance(err, BusyError) else 0.0
                if done + 1 == self.tries or not _may_pass(err) or asked_s > self.most_s:
                    raise
            self.sleep(asked_s + self.random() * min(self.most_s, self.first_s * 2**done))
        raise AssertionError("tries is at least 1")


RETRY = Retry()


class Transfer:
    """Fetches metadata and files; counts the bytes of response bodies by kind."""

    def __init__(self, retry: Retry, network: Network) -> None:
        self._retry, self._network = retry, network
        self.bytes: Counter[str] = Counter()

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Fetch metadata of at most `max_length` bytes."""
        return self._retry.run(lambda: self._whole(url, self._get(url, _PACKED), max_length))

    def unless(self, url: str, etag: str | None, max_length: int) -> bytes | None:
        """Fetch metadata; None if its ETag is unchanged."""

        def ask() -> bytes | None:
            if etag:
                asked = _PACKED | {"If-None-Match": f'"{etag}"'}
                response = self._get(url, asked, (200, _UNCHANGED))
            else:
                response = self._get(url, _PACKED)
            if response.status == _UNCHANGED:
                response.close()
                return None
            return self._whole(url, response, max_length)

        return self._retry.run(ask)

    def _whole(self, url: str, response: urllib3.BaseHTTPResponse, max_length: int) -> bytes:
        """Read a response to its end; decompress and count it as it arrives."""
        chunks = self._chunks(response, METADATA)
        packed = response.headers.get("Content-Encoding") == "gzip"
        data = bytearray()
        for chunk in _unpacked(chunks) if packed else chunks:
            data += chunk
            if len(data) > max_length:
                raise DownloadLengthMismatchError(
                    f"{url}: {len(data)} bytes or more, exceeding {max_length}"
                )
        return bytes(data)

    def file(self, url: str, target: "TargetFile", path: Path, kind: str) -> None:
        """Fetch a target to `path`, continuing its `.part`; check size and hash.

        Raises:
            DownloadError: the server cannot be reached; the partial file is kept.
            LengthOrHashMismatchError: the file differs from the signed one; it is removed.
            OSError: the file cannot be written; it is removed.
        """
        sha256 = target.hashes["sha256"]
        part = path.with_name(f".{sha256}.part")
        make_folder(path.parent)
        try:
            times_wrong = 0
            while times_wrong < _TIMES_WRONG[kind]:
                begun = part.exists()
                self._retry.run(lambda: self._rest(url, part, target.length, kind))
                if sha256_file(part) == sha256:
                    replace_file(part, path)
                    return
                part.unlink()
                times_wrong += not begun
        except OSError:
            remove_file(part)
            raise
        raise LengthOrHashMismatchError(f"{target.path}: its SHA-256 differs")

    def _rest(self, url: str, part: Path, length: int, kind: str) -> None:
        with open_private(part, "ab") as stream:
            have = stream.tell()
            if have == length:
                return
            if have > length:
                have = stream.truncate(0)
            if have:
                asked = _PLAIN | {"Range": f"bytes={have}-"}
                response = self._get(url, asked, (200, 206, 416))
            else:
                response = self._get(url, _PLAIN)
            if response.status == 200:
                have = stream.truncate(0)
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                response.close()
                stream.truncate(0)
                raise DownloadError(f"{url}: sent the wrong range")
            for chunk in self._chunks(response, kind):
                have += len(chunk)
                stream.write(chunk)
                if have > length:  # its hash will differ
                    break
        if have < length:
            raise DownloadError(f"{url}: {have} of {length} bytes")

    def _get(
        self, url: str, headers: dict[str, str], fits: tuple[int, ...] = (200,)
    ) -> urllib3.BaseHTTPResponse:
        try:
            response = self._network.ask("GET", url, headers)
        except urllib3.exceptions.HTTPError as err:
            raise NotReachedError(plain(err)) from err
        status = response.status
        if status not in fits:
            response.close()
            if status == _BUSY or status >= 500:
                raise BusyError(status, retry_after_s(response.headers, time.time()))
            raise DownloadHTTPError(f"answered with {status}", status)
        return response

    def _chunks(self, response: urllib3.BaseHTTPResponse, kind: str) -> Iterator[bytes]:
        """Yield the body in small pieces as it arrives, so that a partial file can be kept."""
        try:
            while chunk := response.read1(_CHUNK, decode_content=False):
                self.bytes[kind] += len(chunk)
                yield chunk
        except urllib3.exceptions.HTTPError as err:
            raise NotReachedError(plain(err)) from err
        finally:
            response.close()  # one read to its end has gone back to the pool before


def _unpacked(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress gzip in small pieces, so that the caller can stop at its limit.

    Input that produces no output is refused, because the caller cannot count it.
    """
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    n_in = n_out = 0
    try:
        for chunk in chunks:
            n_in += len(chunk)
            while chunk and not unpacker.eof:
                piece = unpacker.decompress(chunk, _CHUNK)
                n_out += len(piece)
                yield piece
                chunk = unpacker.unconsumed_tail or unpacker.unused_data
            if chunk:
                raise DownloadError("extra bytes follow its gzip")
            if n_in > n_out + 2 * _CHUNK:
                raise DownloadError("its gzip is larger than its content")
    except zlib.error as err:
        raise DownloadError(f"not valid gzip ({err})") from err
    if not unpacker.eof:
        raise DownloadError("its gzip is incomplete")


def _may_pass(err: DownloadError) -> bool:
    """Whether a retry may succeed: yes if the server is down or busy, no if the file is missing."""
    return isinstance(err, BusyError) or not isinstance(err, DownloadHTTPError)
