"""A phone's answer of names and values, as lines of text."""

from collections.abc import Iterator
from typing import Any


def lines(answer: dict[str, Any]) -> Iterator[str]:
    """Tell each value in a line; faults are told apart."""
    for name, value in answer.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {each}" for key, each in value.items()) or "none"
        if name != "faults":
            yield f"{name:<14}{value}"
