"""Logs as JSON lines on stderr, for whatever collects them."""

import json
import logging
import sys
from datetime import UTC, datetime

FIELDS = "fields"
"""Name of the `extra` that carries a record's own fields."""


class JsonLines(logging.Formatter):
    """One JSON object a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record, with the fields that its caller added."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"at": at.replace("+00:00", "Z"), "level": record.levelname.lower()}
        line |= {"message": record.getMessage()} | getattr(record, FIELDS, {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def to_json_lines(logger: logging.Logger, level: int = logging.INFO) -> None:
    """Let a logger write JSON lines on stderr, and nobody else write its records."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
