"""A session at a phone: show pages of a list, log events, and show how the list changes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pocketrec import explanation, facts
from pocketrec_bundle.errors import InputError, PocketRecError
from pocketrec_edge.answers import Answer, SlateItem
from pocketrec_edge.device import Device

PLACED = ("l", "b", "e")
PLAIN = ("n", "o", "s", "h", "q")


@dataclass(frozen=True, slots=True)
class Command:
    """One typed line.

    Attributes:
        letter: one of `PLACED` or `PLAIN`.
        place: 1-based place in the list, for letters of `PLACED`.
        word: name of an event, for `b`.
    """

    letter: str
    place: int = 0
    word: str | None = None


def parse(line: str) -> Command:
    """Parse a line such as "l 3".

    Raises:
        InputError: the line is not a command.
    """
    letter, *words = line.split() or ["h"]
    if letter in PLAIN and not words:
        return Command(letter)
    most = 2 if letter == "b" else 1
    if letter in PLACED and 1 <= len(words) <= most and words[0].isascii() and words[0].isdigit():
        return Command(letter, int(words[0]), words[1] if len(words) == 2 else None)
    raise InputError(f"unknown command {line.strip()!r}.")


def changes(before: Sequence[str], after: Sequence[str]) -> list[int | None]:
    """Return by how many places each item of a new list moved up; None: the item is new."""
    places = {item_id: place for place, item_id in enumerate(before)}
    return [
        places[item_id] - place if item_id in places else None
        for place, item_id in enumerate(after)
    ]


class Session:
    """The list on the screen and the messages below it.

    Attributes:
        answer: the phone's latest answer.
        items: all items of the list so far.
        page_start: number of items on earlier pages.
        moved: by how many places each item of page 1 moved up since the previous list; None: the
            item is new. Empty without a previous list.
        messages: lines to show below the list.
    """

    def __init__(
        self,
        open_device: Callable[[], Device],
        sync: Callable[[], str] | None,
        k: int | None = None,
    ) -> None:
        """Open the phone and show its first slate.

        Args:
            open_device: opens the phone; called again after each sync.
            sync: installs the newest release and returns a summary; None: no server is set.
            k: items on a page; None: the release's default.
        """
        self._open_device, self._sync, self._k = open_device, sync, k
        self.online = False
        self.messages: list[str] = []
        self.items: tuple[SlateItem, ...] = ()
        self.page_start = 0
        self._first_page: list[str] = []
        self.moved: list[int | None] = []
        self.device = open_device()
        self._begin()

    @property
    def likes(self) -> str | None:
        """The event that `l` logs: "like", or else the first event of the release."""
        names = self._events()
        return "like" if "like" in names else next(iter(names), None)

    @property
    def others(self) -> list[str]:
        """The other events of the release; `b` without a name logs the last."""
        return [name for name in self._events() if name != self.likes]

    @property
    def can_sync(self) -> bool:
        """Whether a server is set."""
        return self._sync is not None

    def do(self, command: Command) -> bool:
        """Run a command and return whether the session continues."""
        self.messages = []
        if command.letter == "q":
            return False
        try:
            match command.letter:
                case "l" | "b":
                    self._act(command)
                case "e":
                    self._explain(command.place)
                case "n":
                    self._next()
                case "o":
                    self._toggle()
                case "s":
                    self._status()
        except PocketRecError as err:
            self.messages = [str(err)]
        return True

    def close(self) -> None:
        """Close the phone."""
        self.device.close()

    def _events(self) -> tuple[str, ...]:
        return self.device.event_types()

    def _begin(self) -> None:
        """Request a new list and compare its first page with the previous one."""
        before = self._first_page
        self.answer = self.device.recommend(self._k, page=1)
        self.items, self.page_start = self.answer.items, 0
        self._requests = _requests(self.answer)
        self._first_page = [item.item_id for item in self.items]
        self.moved = changes(before, self._first_page) if before else []

    def _next(self) -> None:
        if self.answer.session is None or self.answer.page is None:
            raise InputError("no list: no release is installed.")
        answer = self.device.recommend(
            self._k, page=self.answer.page + 1, session=self.answer.session
        )
        if not answer.items:
            self.messages = ["the list ends here"]
            return
        if answer.page == 1:  # the session has ended: a new list
            self.items, self._requests = (), {}
            self._first_page = [item.item_id for item in answer.items]
        self.page_start = len(self.items)
        self.answer, self.moved = answer, []
        self.items = (*self.items, *answer.items)
        self._requests |= _requests(answer)

    def _act(self, command: Command) -> None:
        item, event = self._item(command.place), self._event(command)
        self.device.feedback(item.item_id, event, request=self._requests.get(item.item_id))
        self._begin()
        new = sum(each is None for each in self.moved)
        up = sum(each is not None and each > 0 for each in self.moved)
        self.messages = [
            f"{event} of {item.title} is logged; in the list now: {new} new, {up} higher"
        ]

    def _event(self, command: Command) -> str:
        if command.letter == "l":
            event = self.likes
        elif command.word is None:
            event = self.others[-1] if self.others else self.likes
        else:
            event = command.word
        if event is None or event not in self._events():
            raise InputError(f"the release has no event {event!r}: {', '.join(self._events())}.")
        return event

    def _explain(self, place: int) -> None:
        item, k = self._item(place), self._k
        before = []
        if place > len(self._first_page):  # on a later page: explain its place in one long list
            k = len(self.items)
            before = [f"in one list of {k} items:"]
        explained = self.device.explain(item.item_id, k)
        self.messages = before + [
            line
            for each in explained.items
            for line in explanation.lines(each, explained.candidates)
        ]

    def _toggle(self) -> None:
        if self.online:
            self.online = False
            self.messages = ["offline"]
            return
        if self._sync is None:
            raise InputError("no server to sync from. Start with --server.")
        self.messages = [self._sync()]
        self.online = True
        self.device.close()
        self.device = self._open_device()
        self._begin()

    def _status(self) -> None:
        self.messages = list(facts.lines(self.device.status().plain()))

    def _item(self, place: int) -> SlateItem:
        if not 1 <= place <= len(self.items):
            raise InputError(f"place {place}: the list has 1 to {len(self.items)}.")
        return self.items[place - 1]


def _requests(answer: Answer) -> dict[str, str]:
    """Return the request of each item of a logged answer."""
    if answer.request is None:
        return {}
    return dict.fromkeys((item.item_id for item in answer.items), answer.request)
