"""What `Device.recommend` returns: an answer and its items, as frozen values.

`Answer.plain` returns values that `json.dumps` accepts, as `pocketrec device --json` prints them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pocketrec_edge.faults import Fault

Source = Literal["model", "retrieval", "fallback", "page", "none"]
"""What made a slate. "retrieval": the ranker did not run. "fallback": no model ran, lists answer.
"page": the page was shown before and comes again. "none": there are no items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleEffect:
    """What one re-ranking rule did to one item of the slate.

    Attributes:
        rule: name of the rule, as in `rules.json`.
        how: "moved", "capped" or "inserted".
        before: rank before the rule, from 1, among the items that the rule received.
        after: rank after the rule, from 1.
    """

    rule: str
    how: str
    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sponsorship:
    """The campaign that an item is shown for.

    Attributes:
        campaign: id of the campaign.
        label: text that the app must show on the item.
    """

    campaign: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlateItem:
    """One recommended item.

    Attributes:
        row: of the release; -1 if no release is open.
        item_id: the app's own id.
        title: of the catalogue; the id if the catalogue cannot be read.
        score: the ranker's final score; without a ranker retrieval's, without a model 1 / rank.
        retrieval_score: inner product of user vector and item vector; 0 without a user vector.
        reason: why it is shown, in words for the user.
        probabilities: the ranker's, 0..1, by head; empty without a ranker.
        propensity: probability that this item has this rank; below 1 if the release explores.
        touched: effects of the release's rules, in their order.
        sponsored: the campaign; None if the item is not sponsored.
        team: arm of an interleaved experiment that chose the item; None: no slate was merged.
    """

    row: int
    item_id: str
    title: str
    score: float
    retrieval_score: float
    reason: str
    probabilities: dict[str, float] = field(default_factory=dict)
    propensity: float = 1.0
    touched: tuple[RuleEffect, ...] = ()
    sponsored: Sponsorship | None = None
    team: str | None = None

    def plain(self) -> dict[str, Any]:
        """Return plain values; `asdict` copies all of them, which takes .6 ms a slate of 50."""
        found = {name: getattr(self, name) for name in self.__slots__}
        found["touched"] = [asdict(effect) for effect in self.touched]
        found["sponsored"] = None if self.sponsored is None else asdict(self.sponsored)
        return found

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> "SlateItem":
        """Return the item of plain values, as `plain` made them; unknown keys are ignored.

        Raises:
            KeyError, TypeError, ValueError: a key is missing or a value has the wrong type.
        """
        sponsored = value["sponsored"]
        if not isinstance(value["item_id"], str):
            raise TypeError("an id of the wrong type")
        return cls(
            row=int(value["row"]),
            item_id=value["item_id"],
            title=str(value["title"]),
            score=float(value["score"]),
            retrieval_score=float(value["retrieval_score"]),
            reason=str(value["reason"]),
            probabilities={str(head): float(p) for head, p in dict(value["probabilities"]).items()},
            propensity=float(value["propensity"]),
            touched=tuple(_effect(each) for each in value["touched"]),
            sponsored=None
            if sponsored is None
            else Sponsorship(campaign=str(sponsored["campaign"]), label=str(sponsored["label"])),
            team=None if value.get("team") is None else str(value["team"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to one request: a slate, who made it, and what went wrong.

    Attributes:
        items: best first; empty if nothing may be shown.
        source: what made the slate, see `Source`.
        faults: what went wrong; the items are the best that were left.
        release: name of the release; "" if none answered.
        engine: that runs the models, "litert" or "onnx"; None if no release is open.
        stage_ms: milliseconds of each stage and their "total"; empty if no stage ran.
        history: events of the user that took part.
        unknown_items: events whose item or event type the release does not know.
        session: token for the next page; None if the request had no page.
        page: which page this is, from 1; None if the request had no page.
        unranked: of a search, the results that may not be shown or are unknown, in their order.
        request: random id of the logged request, for `Device.feedback`; of a page shown before,
            that of its first request, while the log has it. None if nothing was logged.
        arms: arm of this device by experiment; experiments that did not apply are left out. Of a
            page shown before, those of its first showing.

    Example:
        >>> from pocketrec_edge.device import Device
        >>> with Device(Path("phone"), bundle=Path("bundle"), engine="onnx") as device:
        ...     answer = device.recommend(1, page=1)
        >>> answer.items[0].title, answer.items[0].reason, answer.page
        ('Title 1', 'popular now', 1)
        >>> sorted(answer.plain())[:4]
        ['arms', 'engine', 'fault_codes', 'faults']
    """

    items: tuple[SlateItem, ...]
    source: Source
    faults: tuple[Fault, ...]
    release: str
    engine: str | None = None
    stage_ms: dict[str, float] = field(default_factory=dict)
    history: int = 0
    unknown_items: int = 0
    session: str | None = None
    page: int | None = None
    unranked: tuple[str, ...] = ()
    request: str | None = None
    arms: dict[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return plain values for JSON: `faults` are texts, `fault_codes` their codes."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return found | {"items": [item.plain() for item in self.items]} | plain_faults(self.faults)


def plain_faults(faults: tuple[Fault, ...]) -> dict[str, list[str]]:
    """Return the two JSON keys that faults become."""
    return {
        "faults": [fault.text for fault in faults],
        "fault_codes": [fault.code.value for fault in faults],
    }


def _effect(value: Mapping[str, Any]) -> RuleEffect:
    return RuleEffect(
        rule=str(value["rule"]),
        how=str(value["how"]),
        before=int(value["before"]),
        after=int(value["after"]),
    )
