"""The screen: the list, what was said, stage timings and memory, and what can be typed."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from pocketrec.browse.session import Session
from pocketrec_edge.memory import resident_bytes

BAR = 24
"""Columns of the longest bar."""
ID_WIDTH = 24
"""Columns of an id; a longer one goes on in the next line, whole: `feedback` needs all of it."""


def screen(session: Session) -> Group:
    """Draw all of it."""
    return Group(*_parts(session))


def _parts(session: Session) -> Iterator[RenderableType]:
    yield _head(session)
    yield _list(session) if session.items else Text("nothing to show", style="dim")
    for fault in session.answer.faults:
        yield Text(f"fault: {fault}", style="red")
    if session.messages:
        yield Rule(style="dim")
        yield Text("\n".join(session.messages))
    yield Rule(style="dim")
    yield _timings(session)
    yield _keys(session)


def _head(session: Session) -> Table:
    answer = session.answer
    n = answer.history
    facts = [
        answer.release or "no release",
        answer.engine,
        f"answered by {answer.source}",
        f"{n} event" if n == 1 else f"{n} events",
    ]
    row = Table.grid(expand=True)
    row.add_column()
    row.add_column(justify="right")
    state = Text("online", "green") if session.online else Text("offline", "yellow")
    row.add_row(Text(" · ".join(fact for fact in facts if fact), "bold"), state)
    return row


def _list(session: Session) -> Table:
    table = Table(box=None, expand=True, header_style="dim", pad_edge=False)
    table.add_column("#", justify="right", width=3)
    table.add_column("", width=5)
    table.add_column("id", max_width=ID_WIDTH, overflow="fold")
    table.add_column("title", ratio=3, no_wrap=True)
    table.add_column("score", justify="right", width=7)
    table.add_column("why", ratio=3, no_wrap=True, style="dim")
    page = session.items[session.page_start :]
    moved = session.moved or [0] * len(page)
    first = session.page_start + 1
    for place, (item, up) in enumerate(zip(page, moved, strict=True), first):
        touched = ", ".join(effect.rule for effect in item.touched)
        why = f"{item.reason} [{touched}]" if touched else item.reason
        table.add_row(
            str(place),
            _change(up),
            Text(item.item_id),
            Text(item.title),
            f"{item.score:.3f}",
            Text(why),
        )
    return table


def _change(up: int | None) -> Text:
    if up is None:
        return Text("new", "bold green")
    if not up:
        return Text("")
    return Text(f"▲ {up}", "green") if up > 0 else Text(f"▼ {-up}", "dim red")


def _timings(session: Session) -> Table:
    stages = dict(session.answer.stage_ms)
    total = stages.pop("total", 0.0)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=9)
    grid.add_column(justify="right", min_width=8, no_wrap=True)
    grid.add_column()
    longest = max(stages.values(), default=0.0)
    for name, ms in stages.items():
        bar = "█" * max(round(BAR * ms / longest), 1) if longest else ""
        grid.add_row(name, f"{ms:.2f} ms", Text(bar, "cyan"))
    n_bytes = resident_bytes()
    resident = f"{n_bytes / 2**20:.0f} MiB resident" if n_bytes else ""
    grid.add_row("total", f"{total:.2f} ms", Text(resident, "magenta"))
    return grid


def _keys(session: Session) -> Text:
    other = f"b N {'|'.join(session.others)}" if session.others else ""
    network = "go offline" if session.online else "go online and sync"
    keys = [
        f"l N {session.likes}" if session.likes else "",
        other,
        "e N explain",
        "n next page",
        f"o {network}" if session.can_sync else "",
        "s status",
        "q quit",
    ]
    return Text("  ".join(key for key in keys if key), "dim")
