"""Signed metadata and files of releases, as a static server would hand them out, but compressed.

JSON is small and read whole, so it is kept in memory with its hash, and goes out as gzip to who
takes it. Its ETag is the SHA-256 of the stored bytes, `-gzip` added where it is compressed; either
is known again. Blobs are sent from the disk, in parts if asked for.
"""

import gzip
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from flask import Blueprint, Response, abort, redirect, request, send_from_directory
from werkzeug.security import safe_join
from werkzeug.wrappers import Response as AnyResponse

from pocketrec_server.delivery.traffic import Traffic
from pocketrec_server.http.openapi import TEXT, described

YEAR_S = 31_536_000
MAX_JSON_BYTES = 1 << 20
"""Of a JSON file that is kept in memory; larger ones are sent from the disk."""
_WORTH_BYTES = 400
"""Below it gzip saves less than a packet."""
_UNCHANGED = {304: "It is what If-None-Match names."}
_CACHED = {"If-None-Match": TEXT}


@dataclass(frozen=True, slots=True)
class Stored:
    """A small file: its bytes, their hash, and the bytes compressed (b"" where not worth it)."""

    data: bytes
    sha256: str
    packed: bytes


def blueprint(repo: Path, served: Traffic, blobs_url: str = "") -> Blueprint:
    """Routes of the repository.

    Args:
        repo: the repository.
        served: counts what is sent.
        blobs_url: where targets are, if not here; requests are sent on to there.
    """
    routes = Blueprint("files", __name__)

    @routes.get("/metadata/<name>")
    @described(
        "Signed metadata.",
        tag="devices",
        ok="application/json",
        more=_UNCHANGED,
        errors=(404,),
        headers=_CACHED,
    )
    def metadata(name: str) -> AnyResponse:
        # Numbered metadata never changes; only the timestamp is asked for anew each time.
        age = 0 if name == "timestamp.json" else YEAR_S
        return _json(repo / "metadata", name, age)

    @routes.get("/targets/<path:path>")
    @described(
        "A file of a release, a delta, a manifest or a policy; immutable.",
        tag="devices",
        more=_UNCHANGED | {206: "The part asked for.", 302: "It is at another server."},
        errors=(404, 416),
        headers=_CACHED | {"Range": TEXT},
    )
    def targets(path: str) -> AnyResponse:
        if blobs_url:
            if safe_join("/", path) is None:
                abort(404)
            return redirect(f"{blobs_url.rstrip('/')}/targets/{path}")
        if path.endswith(".json"):
            response = _json(repo / "targets", path, YEAR_S)
        else:  # each file's name begins with its hash, so a copy is right for ever
            sha256 = path.rpartition("/")[2].partition(".")[0]
            response = _from_disk(repo / "targets", path, YEAR_S, etag=sha256)
        response.cache_control.immutable = True
        return response

    @routes.after_request
    def count(response: Response) -> Response:
        if request.method == "GET" and response.status_code in (200, 206, 304):
            sent = 0 if response.status_code == 304 else response.content_length or 0
            served.count(request.path, sent, response.content_range.length or sent)
        return response

    return routes


def _json(folder: Path, name: str, age: int) -> AnyResponse:
    """Answer with a small JSON file, or from the disk with a large one."""
    place = safe_join(str(folder), name)
    if place is None:
        abort(404)
    try:
        if Path(place).stat().st_size > MAX_JSON_BYTES:
            return _from_disk(folder, name, age)
        found = stored(place)
    except (OSError, ValueError):  # ValueError: a name with a NUL
        abort(404)
    tags = found.sha256, f"{found.sha256}-gzip"
    packed = bool(found.packed) and request.accept_encodings["gzip"] > 0
    known = request.if_none_match
    if any(known.contains_weak(tag) for tag in tags):
        response = Response(status=304)
    else:
        response = Response(found.packed if packed else found.data, content_type="application/json")
        if packed:
            response.content_encoding = "gzip"
    response.set_etag(tags[packed])
    response.cache_control.max_age = age
    if not age:
        response.cache_control.no_cache = True
    response.vary.add("Accept-Encoding")
    return response


def _from_disk(folder: Path, name: str, age: int, etag: str | bool = True) -> Response:
    """Answer with a file or the part of it that is asked for.

    A server that sends whole files without a thread does so with a part, too.
    """
    response = send_from_directory(folder, name, max_age=age, conditional=True, etag=etag)
    send: Callable[[BinaryIO], Any] | None = request.environ.get("wsgi.file_wrapper")
    start = response.content_range.start
    if send is not None and response.status_code == 206 and start is not None:
        response.response.close()  # type: ignore[union-attr]  # of a file that was opened
        stream = Path(folder, name).open("rb")  # noqa: SIM115 - the server closes it
        stream.seek(start)
        response.response = send(stream)  # ends at Content-Length (PEP 3333)
    return response


def stored(place: str) -> Stored:
    """Read a small file, from memory while it stays what it is; raises OSError."""
    facts = os.stat(place)  # noqa: PTH116 (a Path takes as long as all the rest)
    return _read(place, facts.st_ino, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=64)
def _read(place: str, _inode: int, _mtime_ns: int, _size: int) -> Stored:
    """Read a file once as long as it stays what it is: all are put in place by a rename."""
    data = Path(place).read_bytes()
    packed = gzip.compress(data, mtime=0) if len(data) >= _WORTH_BYTES else b""
    return Stored(
        data, hashlib.sha256(data).hexdigest(), packed if len(packed) < len(data) else b""
    )
