"""Log JSON lines on stderr, for a log collector."""

import json
import logging
import sys
from datetime import UTC, datetime

FIELDS = "fields"
"""Key in `extra` of a record's own fields."""


class JsonLines(logging.Formatter):
    """Formats each record as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record with its own fields."""
        time_utc = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"at": time_utc.replace("+00:00", "Z"), "level": record.levelname.lower()}
        line |= {"message": record.getMessage()} | getattr(record, FIELDS, {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def to_json_lines(logger: logging.Logger, level: int = logging.INFO) -> None:
    """Make a logger write JSON lines on stderr, as its only output."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
