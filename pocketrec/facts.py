"""Print names and values of a phone's answer as lines of text."""

from collections.abc import Iterator
from typing import Any

NONE = "none"


def lines(answer: dict[str, Any]) -> Iterator[str]:
    """Yield each value as a line, without the faults."""
    for name, value in answer.items():
        if name not in ("faults", "fault_codes"):
            yield f"{name:<14}{_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items() if each is not None) or NONE
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or NONE
    return NONE if value is None else str(value)
