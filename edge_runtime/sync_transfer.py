"""HTTP for a sync: retries with growing, random waits, and files that go on where they stopped.

A file's bytes gather in `.<sha256>.part`, so a later process asks for the rest only (RFC 9110,
"Range"). Nothing here is trusted: the caller gives size and hash, from signed metadata.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    LengthOrHashMismatchError,
)
from tuf.api.metadata import TargetFile
from tuf.ngclient import FetcherInterface

from bundle.files import sha256_file

TIMEOUT_S = 30.0
METADATA, FULL, DELTA = "metadata", "full", "delta"
_CHUNK = 1 << 15
_UNCHANGED, _BUSY = 304, 429

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often to try, and how long to wait: a random part of a span that doubles.

    (Brooker 2015, "Exponential backoff and jitter", full jitter.)
    """

    tries: int = 4
    first_s: float = 0.25
    most_s: float = 8.0
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random

    def run(self, job: Callable[[], T]) -> T:
        """Do a job again while it fails in a way that may pass."""
        for done in range(self.tries):
            try:
                return job()
            except DownloadError as err:
                if done + 1 == self.tries or not _may_pass(err):
                    raise
            self.sleep(self.random() * min(self.most_s, self.first_s * 2**done))
        raise AssertionError("tries is at least 1")


RETRY = Retry()


class Transfer(FetcherInterface):
    """python-tuf's fetcher over urllib3, for files besides; counts requests, and bytes by kind."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self.requests = 0
        self.bytes: Counter[str] = Counter()

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Fetch metadata, as python-tuf asks for it."""
        ask = super().download_bytes
        return self._retry.run(lambda: ask(url, max_length))

    def unless(self, url: str, etag: str | None, max_length: int) -> bytes | None:
        """Fetch metadata unless it has an ETag; None if it has."""

        def ask() -> bytes | None:
            response = self._get(url, 0, etag)
            if response.status == _UNCHANGED:
                response.close()
                return None
            found = b""
            for chunk in self._chunks(response, METADATA):
                found += chunk
                if len(found) > max_length:
                    raise DownloadLengthMismatchError(f"{url}: more than {max_length} bytes")
            return found

        return self._retry.run(ask)

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self._chunks(self._get(url, 0), METADATA)

    def file(self, url: str, target: TargetFile, path: Path, kind: str) -> None:
        """Fetch a target to `path`, from where its `.part` stopped; check size and hash.

        Raises:
            DownloadError: the server cannot be reached; what came is kept for the next time.
            LengthOrHashMismatchError: what came is something else; it is removed.
            OSError: it cannot be written; what came is removed.
        """
        sha256 = target.hashes["sha256"]
        part = path.with_name(f".{sha256}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            for again in (True, False):
                begun = part.exists()
                self._retry.run(lambda: self._rest(url, part, target.length, kind))
                if sha256_file(part) == sha256:
                    part.replace(path)
                    return
                part.unlink()
                if not (begun and again):  # a fresh one that is wrong will not get better
                    break
        except OSError:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        raise LengthOrHashMismatchError(f"{target.path}: its SHA-256 differs")

    def _rest(self, url: str, part: Path, length: int, kind: str) -> None:
        with part.open("ab") as stream:
            have = stream.tell()
            if have == length:
                return
            if have > length:
                have = stream.truncate(0)
            response = self._get(url, have)
            if response.status == 200:
                have = stream.truncate(0)
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                response.close()
                stream.truncate(0)
                raise DownloadError(f"{url}: sent another part than was asked for")
            for chunk in self._chunks(response, kind):
                have += len(chunk)
                if have > length:
                    break
                stream.write(chunk)
        if have > length:
            part.unlink()
            raise LengthOrHashMismatchError(f"{url}: more than {length} bytes")
        if have < length:
            raise DownloadError(f"{url}: {have} of {length} bytes")

    def _get(self, url: str, begin: int, etag: str | None = None) -> urllib3.BaseHTTPResponse:
        """Ask for a URL from byte `begin` on, or unless it has an ETag."""
        self.requests += 1
        headers = {"User-Agent": "pocketrec", "Accept-Encoding": "identity"}
        if begin:
            headers["Range"] = f"bytes={begin}-"
        if etag:
            headers["If-None-Match"] = f'"{etag}"'
        try:
            response = _pool(url).request(
                "GET",
                url,
                headers=headers,
                preload_content=False,
                timeout=urllib3.Timeout(TIMEOUT_S),
                retries=False,
            )
        except urllib3.exceptions.HTTPError as err:
            raise DownloadError(str(err)) from err
        if response.status not in (
            (200, 206, 416) if begin else (200, _UNCHANGED) if etag else (200,)
        ):
            response.close()
            raise DownloadHTTPError(f"answered with {response.status}", response.status)
        return response

    def _chunks(self, response: urllib3.BaseHTTPResponse, kind: str) -> Iterator[bytes]:
        try:
            for chunk in response.stream(_CHUNK):
                self.bytes[kind] += len(chunk)
                yield chunk
        except urllib3.exceptions.HTTPError as err:
            raise DownloadError(str(err)) from err
        finally:
            response.close()  # one read to its end has gone back to the pool before


def _may_pass(err: DownloadError) -> bool:
    """A server that is gone or busy may come back; one that has no such file will not have it."""
    return not isinstance(err, DownloadHTTPError) or (
        err.status_code >= 500 or err.status_code == _BUSY
    )


def _pool(url: str) -> urllib3.PoolManager:
    """The way to a server: direct, or by the proxy that the environment names."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    return _open_pool(None if proxy_bypass(parts.netloc) else proxy)


@cache
def _open_pool(proxy: str | None) -> urllib3.PoolManager:
    return urllib3.ProxyManager(proxy) if proxy else urllib3.PoolManager()
