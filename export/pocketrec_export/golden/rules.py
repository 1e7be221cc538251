"""The golden slates of `golden_rules.json`: each rule changes a slate, on items made for it.

The file is the same in every release, so that a device fetches it once. Scores and vectors are
small integers or eighths: no client's rounding changes an order. Tests hold
that each rule changes a slate, and that no order depends on less than a thousandth.
"""

from dataclasses import replace
from typing import Any

from pocketrec_bundle.golden.rules import (
    Draws,
    GoldenItem,
    GoldenOffer,
    GoldenRules,
    GoldenTitle,
    RuledSlate,
)
from pocketrec_bundle.settings.policy import Policy
from pocketrec_bundle.settings.rules import (
    BandCalibration,
    BandCap,
    BandThompson,
    CategoryCalibration,
    CategoryCap,
    CategoryThompson,
    Dpp,
    Exploration,
    Freshness,
    Mmr,
    NearDuplicates,
    QualityFloor,
    Rule,
    Rules,
    Sponsored,
)
from pocketrec_edge.recommend.rules.titles import same_words
from pocketrec_edge.releases.golden_rules import Table, answered_slate

NOW_UTC = 1_577_836_800
"""2020-01-01 0:00 UTC."""
UNKNOWN = -1.0

# title, vector, categories, (popularity, year, price)
ITEMS = (
    ("The Matrix", (4, 0, 0, 0), (1, 0), (90, 1999, 4)),
    ("Matrix, The", (0, 4, 0, 0), (1, 2), (80, 2019, UNKNOWN)),
    ("Alien", (4, 1, 0, 0), (1, 0), (70, 1979, 8)),  # cosine .970 with row 0
    ("Aliens", (8, 0, 0, 0), (1, 3), (60, 1986, 12)),  # row 0, twice as long
    ("Amelie", (0, 0, 4, 0), (2, 0), (50, 2001, 5)),
    ("AMÉLIE!", (0, 0, 0, 4), (2, 1), (40, UNKNOWN, 3)),
    ("Heat", (0, 0, 4, 2), (2, 0), (30, 1995, 4)),  # cosine .894 with row 4
    ("", (0, 2, 2, 0), (3, 0), (20, 2021, 0)),
    ("!?", (0, 2, 0, 2), (3, 0), (10, 2010, UNKNOWN)),
    ("Solaris", (3, 0, 3, 0), (0, 0), (5, 1972, 7)),
    ("Stalker", (3, 0, 0, 3), (0, 0), (2, 1979, 16)),
    ("Brazil", (0, 3, 3, 3), (4, 2), (1, 1985, 4)),
)
BEST_FIRST = (8.0, 7.5, 7.0, 6.0, 5.0, 4.5, 4.0, 3.0, 2.0, 1.5, 0.5, 0.0)
"""Scores of rows 0..11, relevance in sixteenths."""
TITLES = (
    *(
        "The Matrix",
        "matrix  THE",
        "Matrix-The.",
        "Alien",
        "Aliens",
        "",
        "  ",
        "?!…",
        "Café",
        "Cafe\u0301",
    ),
    *(
        "Straße",
        "STRASSE",
        "ﬁlm",
        "Ⅳ",
        "٣",
        "Ångström",
        "İstanbul",
        "ΣΊΣΥΦΟΣ",
        "日本 映画",
        "a_b",
        "x²",
    ),
    *("don\u2019t", "b a c", "word " * 50, "é" * 199 + "1" + "2", "\U0001f3ac 7"),
)


def golden_rules() -> GoldenRules:
    """Return all items, cases and titles, answered."""
    items = tuple(
        GoldenItem(
            title=title,
            vector=tuple(map(float, vector)),
            categories=categories,
            numeric=tuple(map(float, numeric)),
        )
        for title, vector, categories, numeric in ITEMS
    )
    table = Table(items)
    slates = tuple(answered_slate(table, case) for case in cases())
    titles = tuple(GoldenTitle(title=each, words=same_words(each)) for each in TITLES)
    return GoldenRules(items=items, slates=slates, titles=titles)


def cases() -> tuple[RuledSlate, ...]:
    """Return the cases, unanswered."""
    return (*_relevance(), *_removal(), *_selection(), *_caps(), *_paid(), *_drawn(), *_policies())


def _case(name: str, *rules: Rule, depth: int = 100, **more: Any) -> RuledSlate:
    """Return a case of all items, their scores falling with their row, unless `more` says more."""
    made = RuledSlate(
        name=name,
        now_utc=NOW_UTC,
        rows=tuple(range(len(ITEMS))),
        scores=BEST_FIRST,
        k=5,
        rules=Rules(rules=rules, depth=depth),
    )
    return replace(made, **more)


_TIED = (4.0, 8.0, 4.0, 8.0, 0.0, 4.0, 0.0, 8.0, 4.0, 0.0, 4.0, 8.0)
_SHUFFLED: dict[str, Any] = {
    "rows": (7, 2, 11, 0, 9, 4, 1, 10, 5, 3, 8, 6),
    "scores": (3.0, 7.0, 0.0, 8.0, 1.5, 5.0, 7.5, 0.5, 4.5, 6.0, 2.0, 4.0),
}


def _relevance() -> tuple[RuledSlate, ...]:
    fresh = Freshness(half_life_years=10.0, weight=0.5)
    return (
        _case("no rule: by score", **_SHUFFLED),
        _case("no rule: of equal scores the lower row", scores=_TIED, k=9),
        _case("only the best of depth enter", CategoryCap(place=0, limit=1), depth=3, k=3),
        _case("no rule: never fewer than the slate", depth=1, k=4),
        _case("a slate longer than the list", rows=(3, 1), scores=(1.0, 2.0), k=9),
        _case("freshness: half by age", fresh),
        _case("freshness: years of the future are new", replace(fresh, weight=1.0), now_utc=0),
        _case("freshness: equal scores", fresh, scores=(1.0,) * 12),
        _case("quality floor: at the floor stays", QualityFloor(relevance=0.5), k=12),
        _case(
            "quality floor: equal scores all stay",
            QualityFloor(relevance=1.0),
            scores=(2.0,) * 12,
            k=12,
        ),
        _case("quality floor after freshness", fresh, QualityFloor(relevance=0.45), k=12),
    )


def _removal() -> tuple[RuledSlate, ...]:
    near = NearDuplicates(cosine=0.95, titles=False)
    titled = NearDuplicates(cosine=1.5, titles=True)
    return (
        _case("near duplicates by vector", near, k=12),
        _case("near duplicates: at a lower bound more go", replace(near, cosine=0.85), k=12),
        _case("near duplicates: the better of two stays", near, **_SHUFFLED),
        _case("near duplicates by title", titled, k=12),
        _case("near duplicates by vector and title", replace(near, titles=True), k=12),
        _case(
            "near duplicates of an earlier page",
            near,
            earlier=(2, 4),
            rows=(0, 1, 3, 5, 6),
            scores=(5.0, 4.0, 3.0, 2.0, 1.0),
        ),
        _case(
            "titles of an earlier page",
            titled,
            earlier=(1, 7, 4),
            rows=(0, 2, 5, 8),
            scores=(4.0, 3.0, 2.0, 1.0),
        ),
        _case(
            "near duplicates: what is like one that went stays",
            replace(near, cosine=0.6),
            rows=(0, 9, 4),
            scores=(3.0, 2.0, 1.0),
        ),
    )


def _selection() -> tuple[RuledSlate, ...]:
    past = (0, 2, 3, 4, 4, 7, 1, 11)
    mmr, dpp = Mmr(relevance=0.6), Dpp(relevance=0.6)
    genres = CategoryCalibration(weight=0.5)
    bands = BandCalibration(column="price", bounds=(4.0, 8.0), weight=0.5)
    return (
        _case("mmr", mmr),
        _case("mmr: likeness alone", Mmr(relevance=0.0)),
        _case(
            "mmr chooses twice the slate, then a cap",
            Mmr(relevance=0.25),
            CategoryCap(place=0, limit=1),
            k=3,
        ),
        _case("dpp", dpp),
        _case("dpp: little relevance", Dpp(relevance=0.1)),
        _case("category calibration", genres, past=past),
        _case(
            "category calibration of a narrow taste",
            CategoryCalibration(weight=0.9),
            past=(4, 6, 4),
        ),
        _case("category calibration without a history", genres),
        _case("category calibration: items without a category", genres, past=(9, 10, 7)),
        _case("band calibration", bands, past=past),
        _case("band calibration: numbers below 0 are in no band", bands, past=(1, 8, 8, 10)),
    )


def _caps() -> tuple[RuledSlate, ...]:
    prices = BandCap(column="price", bounds=(4.0, 8.0), limit=1)
    return (
        _case("category cap: the others go behind", CategoryCap(place=0, limit=2), k=9),
        _case("category cap of the second category", CategoryCap(place=1, limit=1), k=12),
        _case(
            "category cap: no category, no cap",
            CategoryCap(place=0, limit=1),
            rows=(9, 10, 0, 2),
            scores=(1.0, 2.0, 4.0, 3.0),
        ),
        _case("band cap: a bound begins a band", prices, k=12),
        _case(
            "band cap: below 0 is in no band",
            prices,
            rows=(1, 8, 5, 0, 6),
            scores=(5.0, 4.0, 3.0, 2.0, 1.0),
        ),
        _case("two caps, in their order", CategoryCap(place=0, limit=1), prices, k=12),
        _case("two caps, the other way round", prices, CategoryCap(place=0, limit=1), k=12),
    )


def _offer(at: str, row: int, priority: int = 1, shown_today: int = 0) -> GoldenOffer:
    return GoldenOffer(id=at, row=row, priority=priority, shown_today=shown_today)


def _paid() -> tuple[RuledSlate, ...]:
    paid = Sponsored(places=(1, 3, 20), relevance=0.25, per_day=2)
    offers = (_offer("c", 6), _offer("b", 5), _offer("a", 3), _offer("d", 7, priority=2))
    full = _offer("e", 4, priority=9, shown_today=2)
    far = _offer("f", 10, priority=9)
    return (
        _case("sponsored: priority, then relevance", paid, offers=offers),
        _case("sponsored: shown often enough today", paid, offers=(full, *offers)),
        _case("sponsored: relevance below the floor", paid, offers=(far, *offers)),
        _case("sponsored: at the floor", replace(paid, relevance=0.375), offers=offers),
        _case(
            "sponsored: one item, two campaigns",
            paid,
            offers=(_offer("z", 6, 3), _offer("y", 6, 3), *offers),
        ),
        _case(
            "sponsored: equal priority and relevance, the lower id",
            paid,
            scores=(8.0,) * 11 + (0.0,),
            offers=offers,
            k=4,
        ),
        _case("sponsored: the first item itself", paid, offers=(_offer("a", 0),)),
        _case(
            "sponsored: not a near duplicate",
            NearDuplicates(cosine=0.95, titles=False),
            paid,
            offers=(_offer("a", 3, 9), *offers),
        ),
        _case(
            "sponsored: caps hold nothing back",
            CategoryCap(place=0, limit=1),
            paid,
            offers=(_offer("a", 2),),
        ),
        _case("sponsored: no campaign runs", paid),
    )


def _drawn() -> tuple[RuledSlate, ...]:
    drawn = Exploration(epsilon=0.25, pool=4, first=3)
    genres = CategoryThompson(epsilon=0.5, pool=7, first=2, alpha=1.0, beta=4.0)
    prices = BandThompson(
        column="price", bounds=(4.0, 8.0), epsilon=0.5, pool=7, first=2, alpha=1.0, beta=4.0
    )
    seen = ((7, True), (7, False), (8, True), (5, False), (6, False), (10, True), (11, False))
    some = Draws(numbers=(0.125, 0.75, 0.2), order=(2, 0, 3, 1))
    arms = Draws(numbers=(0.25, 0.75, 0.125, 0.3125, 0.5, 0.0, 0.625, 0.9375))
    paid = Sponsored(places=(1,), relevance=0.25, per_day=2)
    return (
        _case("exploration without a draw changes nothing", drawn),
        _case("exploration", drawn, draws=some),
        _case(
            "exploration: a number of epsilon does not explore",
            drawn,
            draws=replace(some, numbers=(0.25, 0.0, 0.5)),
        ),
        _case("exploration: the pool is small", replace(drawn, first=1), draws=some, k=10),
        _case(
            "exploration takes nothing that a cap put behind",
            CategoryCap(place=0, limit=1),
            replace(drawn, epsilon=1.0),
            draws=some,
        ),
        _case(
            "exploration beside a sponsored item", paid, drawn, draws=some, offers=(_offer("a", 2),)
        ),
        _case("category Thompson", genres, draws=arms, impressions=seen),
        _case("category Thompson without impressions", genres, draws=arms),
        _case("band Thompson", prices, draws=arms, impressions=seen),
        _case(
            "every rule that draws nothing, one after the other",
            Freshness(half_life_years=10.0, weight=0.25),
            QualityFloor(relevance=0.0625),
            NearDuplicates(cosine=0.85, titles=True),
            Mmr(relevance=0.5),
            CategoryCap(place=0, limit=1),
            BandCap(column="price", bounds=(5.0,), limit=1),
            replace(paid, places=(2,)),
            drawn,
            k=6,
            offers=(_offer("a", 6), _offer("b", 7)),
            past=(0, 4, 4),
            earlier=(6,),
        ),
    )


def _policies() -> tuple[RuledSlate, ...]:
    policy = Policy(slate=5, category_cap=2, near_duplicate_cosine=0.95, probes=0, candidates=100)

    def case(name: str, **more: Any) -> RuledSlate:
        changed = replace(policy, **{k: more.pop(k) for k in policy.to_json() if k in more})
        return replace(_case(name, **more), rules=None, policy=changed)

    return (
        case("policy: near duplicates and a cap"),
        case("policy: no cap", category_cap=0),
        case("policy: nothing is near", near_duplicate_cosine=2.0, category_cap=0),
        case("policy: capped items fill up, near duplicates never", k=12),
        case(
            "policy: of equal scores the one that came first",
            rows=(7, 2, 11, 0, 9),
            scores=(1.0, 2.0, 1.0, 2.0, 1.0),
            k=4,
        ),
        case(
            "policy: no category, no cap",
            category_cap=1,
            rows=(9, 10, 0, 2),
            scores=(4.0, 3.0, 2.0, 1.0),
        ),
    )
