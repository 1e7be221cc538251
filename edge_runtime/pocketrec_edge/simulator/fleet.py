"""Simulate a fleet: a process per class; one works at a time, so phones do not compete."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any

from pocketrec_edge.errors import SimulationFailedError
from pocketrec_edge.simulator.device_profiles import DeviceClass
from pocketrec_edge.simulator.plan import Plan
from pocketrec_edge.simulator.session_result import SessionResult

_TOLD = 600
"""Maximum characters of a child's traceback in the error message."""


@dataclass(frozen=True, slots=True)
class ClassLife:
    """What the phones of a class did.

    Attributes:
        results: of each phone.
        peak_bytes: peak resident memory of their process.
    """

    results: list[SessionResult]
    peak_bytes: int


def run_fleet(
    classes: Iterable[tuple[DeviceClass, int]],
    plan: Plan,
    work: Path,
    *,
    keep: bool,
    on_phone: Callable[[], object],
    pauses: Sequence[float] = (),
    on_pause: Callable[[float], object] = lambda _: None,
) -> list[ClassLife]:
    """Simulate all phones of all classes, in a process a class.

    Args:
        classes: each with the number of its phones.
        plan: settings of the run.
        work: folder for the phones' folders.
        keep: keep the phones' folders.
        on_phone: called each time a phone has reached a pause, or its end.
        pauses: rising minutes; all phones live until one before any of them lives on. Without
            pauses each phone lives to its end before the next one begins.
        on_pause: called with the minute of each pause, while no phone lives.

    Returns:
        The lives of each class, in their order.

    Raises:
        SimulationFailedError: a process ended with an error.
    """
    given = list(classes)
    firsts = accumulate((n for _, n in given), initial=0)
    with ExitStack() as stack:
        running = [
            stack.enter_context(_Process(kind, n, first, plan, work, keep, on_phone, pauses))
            for (kind, n), first in zip(given, firsts, strict=False)
        ]
        for pause in pauses:
            for each in running:
                each.live()
            on_pause(pause)
        return [each.live_to_end() for each in running]


class _Process:
    """The process of one class; it starts when its phones begin to live."""

    def __init__(
        self,
        kind: DeviceClass,
        n_devices: int,
        first: int,
        plan: Plan,
        work: Path,
        keep: bool,
        on_phone: Callable[[], object],
        pauses: Sequence[float],
    ) -> None:
        self._job = {
            "class": asdict(kind),
            "plan": asdict(plan),
            "devices": n_devices,
            "first": first,
            "work": str(work),
            "keep": keep,
            "pauses": list(pauses),
        }
        self._name, self._n_devices, self._on_phone = kind.name, n_devices, on_phone
        self._errors = work / f"{kind.name}.stderr"
        self._stack = ExitStack()
        self._child: subprocess.Popen[str] | None = None
        self._results: list[SessionResult] = []
        self._peak = 0

    def __enter__(self) -> "_Process":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
        self._stack.close()

    def live(self) -> None:
        """Let the phones live until the next pause, or to their end.

        Raises:
            SimulationFailedError: the process ended with an error.
        """
        child = self._started()
        assert child.stdout is not None
        for line in child.stdout:
            value = json.loads(line)
            if "pause" in value:
                return
            self._note(value)
        self._check_end(child)

    def live_to_end(self) -> ClassLife:
        """Let the phones live to their end; return what they did.

        Raises:
            SimulationFailedError: the process ended with an error.
        """
        self.live()
        self._stack.close()
        self._errors.unlink(missing_ok=True)
        return ClassLife(self._results, self._peak)

    def _started(self) -> "subprocess.Popen[str]":
        """Start the process, or let it go on after a pause."""
        if self._child is not None:
            self._send("")
            return self._child
        stderr = self._errors.open("w+", encoding="utf-8", errors="replace")
        self._stderr = self._stack.enter_context(stderr)
        command = [sys.executable, "-m", "pocketrec_edge.simulator.child"]
        self._child = self._stack.enter_context(
            subprocess.Popen(  # noqa: S603 (our own module)
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                encoding="utf-8",
            )
        )
        self._send(json.dumps(self._job))
        return self._child

    def _send(self, line: str) -> None:
        assert self._child is not None and self._child.stdin is not None
        try:
            self._child.stdin.write(line + "\n")
            self._child.stdin.flush()
        except BrokenPipeError:  # it ended; `live` reports why
            pass

    def _note(self, value: dict[str, Any]) -> None:
        if "result" in value:
            self._results.append(SessionResult.from_json(value["result"]))
        if "result" in value or "lived" in value:
            self._on_phone()
        self._peak = value.get("peak_bytes", self._peak)

    def _check_end(self, child: "subprocess.Popen[str]") -> None:
        code = child.wait()
        if code:
            self._stderr.seek(0)
            raise SimulationFailedError(
                f"class {self._name}: the process of its phones ended with exit code {code} after "
                f"{len(self._results)} of {self._n_devices} phones: {self._stderr.read()[-_TOLD:]}"
            )
