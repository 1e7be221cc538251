"""Mirror of a repository in an S3-compatible store.

boto3 finds the credentials and the region: in the environment, its files, or the machine's role.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from pocketrec_bundle.errors import InputError, PocketRecError
from pocketrec_server.copies.inventory import FRESH, TIMESTAMP, YEAR

_RETRIES = {"max_attempts": 5, "mode": "standard"}


class Bucket:
    """Files below a prefix of a bucket; each is written atomically."""

    def __init__(self, url: str, endpoint: str | None = None) -> None:
        """Set up the client, without a request.

        Raises:
            InputError: the URL has no bucket name.
        """
        self._bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not self._bucket:
            raise InputError(f"{url}: no bucket name; use s3://bucket/prefix.")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        with self._wrapped():
            self._client: Any = boto3.client(
                "s3", endpoint_url=endpoint, config=Config(retries=_RETRIES)
            )

    def sizes(self) -> dict[str, int]:
        """Return the size of each existing file, by name."""
        with self._wrapped():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            return {
                entry["Key"].removeprefix(self._prefix): entry["Size"]
                for page in pages
                for entry in page.get("Contents", ())
            }

    def put(self, name: str, source: Path) -> None:
        """Write a file; large files are uploaded in parts."""
        with self._wrapped():
            self._client.upload_file(
                str(source), self._bucket, self._prefix + name, ExtraArgs=_headers(name, YEAR)
            )

    def put_timestamp(self, data: bytes) -> None:
        """Write the timestamp, the only file that changes."""
        with self._wrapped():
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._prefix + TIMESTAMP,
                Body=data,
                **_headers(TIMESTAMP, FRESH),
            )

    @contextmanager
    def _wrapped(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, Boto3Error, ClientError) as err:
            raise PocketRecError(
                f"s3://{self._bucket}/{self._prefix}: {err}. Devices still see the old state."
            ) from err


def _headers(name: str, cached: str) -> dict[str, str]:
    kind = "application/json" if name.endswith(".json") else "application/octet-stream"
    return {"ContentType": kind, "CacheControl": cached}
