"""Methods of one object that threads call: one runs after the other.

An app may ask on its own thread while another one syncs or logs. A request that found another
release active replaces the one that a second request was computing with.
"""

import threading
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar


class HasTurns(Protocol):
    """What the decorated methods belong to."""

    turns: threading.RLock


Self = TypeVar("Self", bound=HasTurns)
Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def one_at_a_time(
    method: Callable[Concatenate[Self, Given], Answer],
) -> Callable[Concatenate[Self, Given], Answer]:
    """Let a method wait until no other decorated one of its object runs in another thread."""

    @wraps(method)
    def run(self: Self, /, *args: Given.args, **kwargs: Given.kwargs) -> Answer:
        with self.turns:
            return method(self, *args, **kwargs)

    return run
