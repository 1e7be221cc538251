"""The picture of README.md: a phone's list without a network, before and after one like.

    python -m benchmarks.support.pictures.phone_picture docs/images --home HOME  ask and draw
    python -m benchmarks.support.pictures.phone_picture docs/images              draw again

HOME is a phone that holds a release and a user's events, such as `make demo` leaves in
`benchmarks/out/demo/phones/`; a copy of it is asked, in a process that refuses every socket. The
answers are kept in `phone.json`, so that the picture can be drawn again without a training.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path

from pocketrec_edge.device import Device
from pocketrec_edge.offline import forbid_sockets

ITEMS = 8
WIDTH, HEIGHT = 860, 690
FRAME_WIDTH, FRAME_HEIGHT = 350, 640
ROW = 61
TITLE_LETTERS, REASON_LETTERS, SHORT_LETTERS = 26, 34, 28
"""Letters that fit a row: of a title, of a reason, of a reason beside the mark of a new item."""

STYLE = """\
.page { fill: #f6f8fa; }
.frame { fill: #1f2328; }
.screen { fill: #ffffff; }
.bar { fill: #57606a; font-size: 13px; }
.head { fill: #1f2328; font-size: 23px; font-weight: 700; }
.sub { fill: #57606a; font-size: 13.5px; }
.title { fill: #1f2328; font-size: 15px; font-weight: 600; }
.why { fill: #57606a; font-size: 13.5px; }
.place { fill: #6e7781; font-size: 14px; text-anchor: end; }
.line { stroke: #d8dee4; }
.heart { fill: none; stroke: #8c959f; stroke-width: 1.6; }
.liked { fill: #cf222e; stroke: #cf222e; stroke-width: 1.6; }
.pill { fill: #dafbe1; }
.new { fill: #116329; font-size: 12.5px; font-weight: 600; text-anchor: middle; }
.step { fill: #cf222e; font-size: 14px; font-weight: 600; text-anchor: middle; }
.arrow { fill: none; stroke: #cf222e; stroke-width: 2.5; }
"""
HEART = "M0 3.6C-2.2-1.6-9-.4-9 4.6-9 9-4 12 0 15.6 4 12 9 9 9 4.6 9-.4 2.2-1.6 0 3.6z"


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a list."""

    item_id: str
    title: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """What a phone showed.

    Attributes:
        n_events: events in the user's log before the like.
        liked: id of the item that the user liked, one of `before`.
    """

    n_events: int
    liked: str
    before: Sequence[Line]
    after: Sequence[Line]


def ask(home: Path) -> Lists:
    """Return two lists of a copy of the phone: now, and after a like of the first item."""
    forbid_sockets()
    with tempfile.TemporaryDirectory() as folder:
        device = Device(Path(shutil.copytree(home, Path(folder) / "phone")))
        n_events, before = _list(device)
        device.feedback(before[0].item_id, "like")
        _, after = _list(device)
        device.close()
    return Lists(n_events=n_events, liked=before[0].item_id, before=before, after=after)


def _list(device: Device) -> tuple[int, list[Line]]:
    answer = device.recommend(ITEMS, log_impressions=False)
    lines = [Line(item.item_id, item.title, item.reason) for item in answer.items]
    return answer.history, lines


def read_lists(path: Path) -> Lists:
    """Read the answers of an earlier call."""
    stored = json.loads(path.read_bytes())
    before, after = ([Line(**line) for line in stored[key]] for key in ("before", "after"))
    return Lists(n_events=stored["n_events"], liked=stored["liked"], before=before, after=after)


def draw(lists: Lists) -> str:
    """Return the picture as SVG."""
    liked = next(line.title for line in lists.before if line.item_id == lists.liked)
    left, right, top = 30, WIDTH - 30 - FRAME_WIDTH, 25
    middle, height = WIDTH / 2, top + 250
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        ' aria-labelledby="title desc" font-family="system-ui, -apple-system, \'Segoe UI\','
        " 'DejaVu Sans', sans-serif\">",
        '<title id="title">A list of a phone without a network</title>',
        f'<desc id="desc">{escape(_description(lists, liked))}</desc>',
        f"<style>\n{STYLE}</style>",
        f'<rect class="page" x="0" y="0" width="{WIDTH}" height="{HEIGHT}" rx="16"/>',
        *_phone(left, top, lists.n_events, lists.before, liked=lists.liked),
        *_phone(right, top, lists.n_events + 1, lists.after, known=lists.before),
        f'<path class="liked" transform="translate({middle} {height - 46})" d="{HEART}"/>',
        f'<text class="step" x="{middle}" y="{height - 8}">one like</text>',
        f'<path class="arrow" d="M{middle - 30} {height + 10}H{middle + 28}m-11-9 11 9-11 9"/>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _description(lists: Lists, liked: str) -> str:
    before = ", ".join(line.title for line in lists.before)
    after = ", ".join(line.title for line in lists.after)
    return f"Before: {before}. After a like of {liked}: {after}."


def _phone(
    left: int,
    top: int,
    n_events: int,
    lines: Sequence[Line],
    *,
    liked: str = "",
    known: Sequence[Line] = (),
) -> Iterator[str]:
    """Draw one phone; items that `known` lacks are marked as new."""
    x, width = left + 10, FRAME_WIDTH - 20
    yield (
        f'<rect class="frame" x="{left}" y="{top}" width="{FRAME_WIDTH}" height="{FRAME_HEIGHT}"'
        ' rx="40"/>'
    )
    yield (
        f'<rect class="screen" x="{x}" y="{top + 10}" width="{width}" height="{FRAME_HEIGHT - 20}"'
        ' rx="31"/>'
    )
    plane = "\N{AIRPLANE}\N{VARIATION SELECTOR-15}"
    yield f'<text class="bar" x="{x + 24}" y="{top + 36}">{plane} no network</text>'
    yield f'<text class="head" x="{x + 22}" y="{top + 76}">For you</text>'
    yield (
        f'<text class="sub" x="{x + 22}" y="{top + 99}">from {n_events} events on this phone</text>'
    )
    ids = {line.item_id for line in known}
    for at, line in enumerate(lines):
        y = top + 112 + at * ROW
        yield f'<path class="line" d="M{x + 22} {y}H{x + width - 22}"/>'
        yield f'<text class="place" x="{x + 38}" y="{y + 28}">{at + 1}</text>'
        title = _short(line.title, TITLE_LETTERS)
        yield f'<text class="title" x="{x + 50}" y="{y + 27}">{title}</text>'
        is_new = bool(known) and line.item_id not in ids
        reason = _short(line.reason, SHORT_LETTERS if is_new else REASON_LETTERS)
        yield f'<text class="why" x="{x + 50}" y="{y + 48}">{reason}</text>'
        if is_new:
            edge = x + width - 62
            yield f'<rect class="pill" x="{edge}" y="{y + 33}" width="40" height="21" rx="10"/>'
            yield f'<text class="new" x="{edge + 20}" y="{y + 48}">new</text>'
        else:
            kind = "liked" if line.item_id == liked else "heart"
            place = f"translate({x + width - 35} {y + 14})"
            yield f'<path class="{kind}" transform="{place}" d="{HEART}"/>'


def _short(text: str, letters: int) -> str:
    """Return a text of at most so many letters, escaped for XML."""
    return escape(text if len(text) <= letters else f"{text[: letters - 1].rstrip()}\u2026")


def main() -> None:
    """Ask a phone if one is named, then write the picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.support.pictures.phone_picture")
    parser.add_argument("out", type=Path, help="folder of phone.json and phone.svg")
    parser.add_argument("--home", type=Path, help="a phone to ask; without it phone.json is drawn")
    words = parser.parse_args()
    stored = words.out / "phone.json"
    if words.home:
        text = json.dumps(asdict(ask(words.home)), indent=2, ensure_ascii=False)
        stored.write_text(f"{text}\n")
    (words.out / "phone.svg").write_text(draw(read_lists(stored)))


if __name__ == "__main__":
    main()
