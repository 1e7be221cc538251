"""Print the audit trail of a repository as lines of text, or as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pocketrec_server.repository.history import Change


def shown(changes: "Sequence[Change]", *, as_json: bool) -> str:
    """Yield one line for each change, in the given order."""
    if as_json:
        return json.dumps({"changes": [asdict(change) for change in changes]})
    return "\n".join(map(_line, changes)) if changes else "no change is recorded"


def _line(change: "Change") -> str:
    moment = datetime.fromtimestamp(change.when_utc, UTC).strftime("%Y-%m-%d %H:%M")
    what = " ".join(filter(None, (change.channel, change.action, change.subject)))
    told = f"{change.before} -> {change.after}" if change.before else change.after
    why = f" ({change.reason})" if change.reason else ""
    return f"{moment}  {change.by or '-'}  {what}: {told}{why}"
