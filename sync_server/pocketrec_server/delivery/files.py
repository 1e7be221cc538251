"""Serve signed metadata and files of releases, like a static file server with compression.

JSON files are small: they are cached in memory with their hash, and sent as gzip if the client
accepts it. The ETag is the SHA-256 of the stored bytes, with `-gzip` if compressed; both match.
Blobs are sent from the disk, and support Range requests.
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
"""Maximum size of a JSON file in memory; larger files are sent from the disk."""
_WORTH_BYTES = 400
"""Minimum size for gzip: for smaller files it saves less than one packet."""
_UNCHANGED = {304: "The file is unchanged: its ETag matches If-None-Match."}
_CACHED = {"If-None-Match": TEXT}


@dataclass(frozen=True, slots=True)
class SmallFile:
    """A small file in memory.

    Attributes:
        data: its bytes.
        sha256: SHA-256 of these bytes.
        packed: bytes compressed with gzip; b"" if that saves too little.
    """

    data: bytes
    sha256: str
    packed: bytes


def blueprint(repo: Path, served: Traffic, blobs_url: str = "") -> Blueprint:
    """Return the routes of a repository's files.

    Args:
        repo: folder of the repository.
        served: counter of the sent bytes.
        blobs_url: server of the targets; requests for targets are redirected to it. "": this one.
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
        # Numbered metadata never changes; clients revalidate only the timestamp.
        age = 0 if name == "timestamp.json" else YEAR_S
        return _json(repo / "metadata", name, age)

    @routes.get("/targets/<path:path>")
    @described(
        "A file of a release, a delta, a manifest or a policy. It never changes.",
        tag="devices",
        more=_UNCHANGED | {206: "The requested range.", 302: "The file is on another server."},
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
        else:  # each file's name begins with its hash, so caches may keep it for ever
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
    """Respond with a JSON file: from memory, or from the disk if it is large."""
    place = safe_join(str(folder), name)
    if place is None:
        abort(404)
    try:
        if Path(place).stat().st_size > MAX_JSON_BYTES:
            return _from_disk(folder, name, age)
        file = stored(place)
    except (OSError, ValueError):  # ValueError: a name with a NUL
        abort(404)
    tags = file.sha256, f"{file.sha256}-gzip"
    packed = bool(file.packed) and request.accept_encodings["gzip"] > 0
    known = request.if_none_match
    if any(known.contains_weak(tag) for tag in tags):
        response = Response(status=304)
    else:
        response = Response(file.packed if packed else file.data, content_type="application/json")
        if packed:
            response.content_encoding = "gzip"
    response.set_etag(tags[packed])
    response.cache_control.max_age = age
    if not age:
        response.cache_control.no_cache = True
    response.vary.add("Accept-Encoding")
    return response


def _from_disk(folder: Path, name: str, age: int, etag: str | bool = True) -> Response:
    """Respond with a file or the requested range.

    A range is sent with the server's `wsgi.file_wrapper` too, which needs no thread while sending.
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


def stored(place: str) -> SmallFile:
    """Read a small file, from memory if it did not change.

    Raises:
        OSError: the file cannot be read.
    """
    facts = os.stat(place)  # noqa: PTH116 (a Path takes as long as the rest of the function)
    return _read(place, facts.st_ino, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=64)
def _read(place: str, _inode: int, _mtime_ns: int, _size: int) -> SmallFile:
    """Read a file once for each inode, time and size; files are replaced by a rename."""
    data = Path(place).read_bytes()
    packed = gzip.compress(data, mtime=0) if len(data) >= _WORTH_BYTES else b""
    return SmallFile(
        data, hashlib.sha256(data).hexdigest(), packed if len(packed) < len(data) else b""
    )
