"""HTTP for a sync: proxies, custom CAs, redirects, and limits on the transfer rate.

The limits apply at the socket, so they cover status lines, headers, bodies and TLS.
"""

import http.client
import io
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from pocketrec_edge.errors import SyncError

MAX_REDIRECTS = 3
MAX_HEAD_BYTES = 1 << 17
"""Limit of a response's headers with interim responses; http.client itself has no limit."""
MAX_REPLY_BYTES = 1 << 20
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_MOVED = (301, 302, 303, 307, 308)
_BURST_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Limits on the transfer rate.

    A minimum rate instead of a total deadline: a slow server cannot block a sync, and a slow link
    still works, because a file may take up to its size / `least` seconds.

    Attributes:
        most: maximum bytes per second of all responses together; None: no limit.
        timeout_s: timeout in seconds to connect, and between two reads.
        least: minimum bytes per second while waiting for a response.
        within_s: the minimum rate is checked each time this many seconds were spent waiting.
    """

    most: int | None = None
    timeout_s: float = 30.0
    least: int = 1024
    within_s: float = 30.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


PACE = Pace()


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete response: status, headers and body."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class Network:
    """HTTP connections of one sync."""

    def __init__(self, pace: Pace = PACE, source_address: str | None = None) -> None:
        """Read the environment; open no connection yet.

        Args:
            pace: limits for all responses.
            source_address: IP address of this machine to connect from; None: the system's choice.

        Raises:
            SyncError: the environment names a missing CA file.
        """
        self.requests = 0
        self._pace, self._bucket = pace, Bucket(pace)
        self._pools: dict[str | None, urllib3.PoolManager] = {}
        self._options = _own_ca()
        if source_address is not None:
            self._options["source_address"] = (source_address, 0)

    def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> urllib3.BaseHTTPResponse:
        """Send a request; return the response with its body unread. The caller closes it.

        A GET follows redirects, for example to a CDN.

        Raises:
            HTTPError: urllib3's; the server does not answer, or is too slow.
        """
        for _ in range(MAX_REDIRECTS + 1):
            self.requests += 1
            response = self._pool(url).request(
                method,
                url,
                body=body,
                headers={"User-Agent": "pocketrec", **headers},
                preload_content=False,
                timeout=urllib3.Timeout(self._pace.timeout_s),
                redirect=False,
                retries=False,
            )
            place = response.headers.get("Location")
            if method != "GET" or response.status not in _MOVED or place is None:
                return response
            response.close()
            try:
                url = urljoin(url, place)
                urlsplit(url)
            except ValueError as err:
                raise urllib3.exceptions.HTTPError(
                    f"{url}: redirects to an invalid address ({err})"
                ) from err
        raise urllib3.exceptions.HTTPError(f"{url}: more than {MAX_REDIRECTS} redirects")

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send a POST with a body; see `exchange`.

        Raises:
            HTTPError: see `ask`.
        """
        return self.exchange("POST", url, headers, body)

    def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Reply:
        """Send a request and read the response, at most `MAX_REPLY_BYTES` of it.

        Raises:
            HTTPError: see `ask`.
        """
        response = self.ask(method, url, headers, body)
        try:
            data = b""
            while more := response.read1(MAX_REPLY_BYTES - len(data), decode_content=False):
                data += more
            return Reply(response.status, response.headers, data)
        finally:
            response.close()

    def _pool(self, url: str) -> urllib3.PoolManager:
        """Return connections to a server, direct or through the environment's proxy."""
        parts = urlsplit(url)
        proxy = None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)
        if proxy not in self._pools:
            manager = urllib3.ProxyManager(proxy, **self._options) if proxy else None
            pool = manager or urllib3.PoolManager(**self._options)
            pool.pool_classes_by_scheme = _paced_pools(self._pace, self._bucket)
            self._pools[proxy] = pool
        return self._pools[proxy]


class Bucket:
    """A token bucket: limits the rate, with bursts of a quarter of a second."""

    def __init__(self, pace: Pace) -> None:
        self._pace, self._free_at = pace, 0.0

    def most_now(self, wanted: int) -> int:
        """Return the maximum bytes of one read; small reads keep waits short."""
        rate = self._pace.most
        return wanted if rate is None else min(wanted, max(1, int(rate * _BURST_S)))

    def take(self, n: int) -> None:
        """Account for n bytes; sleep until the rate allows them."""
        rate, now = self._pace.most, self._pace.clock()
        if rate is not None:
            self._free_at = max(self._free_at, now - _BURST_S) + n / rate
            if self._free_at > now:
                self._pace.sleep(self._free_at - now)


class _Paced(io.RawIOBase):
    """The bytes of one response from its socket, within the limits of `Pace`."""

    def __init__(self, raw: io.RawIOBase, pace: Pace, bucket: Bucket) -> None:
        self._raw, self._pace, self._bucket = raw, pace, bucket
        self._waited_s, self._came = 0.0, 0
        self.head_left: int | None = MAX_HEAD_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        view = memoryview(buffer)[: self._bucket.most_now(len(memoryview(buffer)))]
        started = self._pace.clock()
        n = self._raw.readinto(view)
        self._check(n or 0, self._pace.clock() - started)
        self._bucket.take(n or 0)
        return n

    def close(self) -> None:
        self._raw.close()
        super().close()

    def _check(self, n: int, seconds: float) -> None:
        if self.head_left is not None:
            self.head_left -= n
            if self.head_left < 0:
                raise http.client.HTTPException(f"headers of more than {MAX_HEAD_BYTES} bytes")
        self._waited_s, self._came = self._waited_s + seconds, self._came + n
        if self._waited_s >= self._pace.within_s:
            if n and self._came < self._pace.least * self._waited_s:
                raise TimeoutError(f"less than {self._pace.least} bytes a second")
            self._waited_s, self._came = 0.0, 0


class _Response(http.client.HTTPResponse):
    def __init__(self, pace: Pace, bucket: Bucket, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._paced = _Paced(self.fp.detach(), pace, bucket)
        self.fp = io.BufferedReader(self._paced)

    def begin(self) -> None:
        super().begin()
        self._paced.head_left = None


def _paced_pools(pace: Pace, bucket: Bucket) -> dict[str, Any]:
    """urllib3's connection pools by scheme, with limits on the transfer rate."""
    attributes = {"response_class": partial(_Response, pace, bucket)}
    found = {}
    for scheme, pool, connection in (
        ("http", urllib3.HTTPConnectionPool, HTTPConnection),
        ("https", urllib3.HTTPSConnectionPool, HTTPSConnection),
    ):
        paced = type("Paced", (connection,), attributes)
        found[scheme] = type("PacedPool", (pool,), {"ConnectionCls": paced})
    return found


def _own_ca() -> dict[str, Any]:
    """Return the CA file or folder that the environment names, as requests, curl and OpenSSL do."""
    for name in _CA_VARIABLES:
        if place := os.environ.get(name):
            if not Path(place).exists():
                raise SyncError(
                    f"{name}: {place} does not exist. Name a PEM file of CAs, or unset it."
                )
            return {"ca_cert_dir" if Path(place).is_dir() else "ca_certs": place}
    return {}


def retry_after_s(headers: Mapping[str, str], now_utc: float) -> float:
    """Return the seconds of Retry-After (RFC 9110); 0 without that header."""
    value = headers.get("Retry-After", "")
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now_utc)
    except (ValueError, OverflowError):
        return 0.0
