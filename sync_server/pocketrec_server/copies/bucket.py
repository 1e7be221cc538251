"""A copy of a repository in an S3-compatible store; who may write there, boto3 finds out.

Credentials and region come from where boto3 looks: the environment, its files, the machine's role.
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
    """Files below a prefix; each is put whole or not at all."""

    def __init__(self, url: str, endpoint: str | None = None) -> None:
        """Open it; nothing is asked yet.

        Raises:
            InputError: the URL names no bucket.
        """
        self._bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not self._bucket:
            raise InputError(f"{url}: names no bucket; use s3://bucket/prefix.")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        with self._told():
            self._client: Any = boto3.client(
                "s3", endpoint_url=endpoint, config=Config(retries=_RETRIES)
            )

    def sizes(self) -> dict[str, int]:
        """Name and size of each file that is there."""
        with self._told():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            return {
                each["Key"].removeprefix(self._prefix): each["Size"]
                for page in pages
                for each in page.get("Contents", ())
            }

    def put(self, name: str, source: Path) -> None:
        """Write a file, in parts where it is large."""
        with self._told():
            self._client.upload_file(
                str(source), self._bucket, self._prefix + name, ExtraArgs=_headers(name, YEAR)
            )

    def put_timestamp(self, data: bytes) -> None:
        """Write the one file that changes."""
        with self._told():
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._prefix + TIMESTAMP,
                Body=data,
                **_headers(TIMESTAMP, FRESH),
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, Boto3Error, ClientError) as err:
            raise PocketRecError(
                f"s3://{self._bucket}/{self._prefix}: {err}. Phones that use it see what they saw."
            ) from err


def _headers(name: str, cached: str) -> dict[str, str]:
    kind = "application/json" if name.endswith(".json") else "application/octet-stream"
    return {"ContentType": kind, "CacheControl": cached}
