"""All that is known of some files: what they hold, how they belong together, which recipe fits."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketrec_training.data.folds import TEST, VALID
from pocketrec_training.data.joins import MIN_MATCHED
from pocketrec_training.table_profile.columns import ColumnProfile
from pocketrec_training.table_profile.facts import EventFacts, event_facts
from pocketrec_training.table_profile.items import separator_of
from pocketrec_training.table_profile.joins import JoinFacts, join_facts
from pocketrec_training.table_profile.proposal import Proposal, propose
from pocketrec_training.table_profile.returns import Returns, find_returns
from pocketrec_training.table_profile.tables import HOLDS, TableProfile, profile_tables

_HELD_OUT = (("valid", HOLDS[VALID]), ("test", HOLDS[TEST]))
USUAL_SEPARATOR = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What `pocketrec init` found.

    Attributes:
        name: of the recipe.
        tables: in the order of the files.
        log: the table of interactions; one of `tables`.
        items, users: the tables that describe them; None without one.
        held_out: "valid" and "test" -> the file of these interactions, if the files are a split.
        returns: rows that look like returns; None without any.
        facts: of the interactions that the recipe keeps.
        item_join, user_join: how many interacted items (users) are in these tables.
        proposal: split and other settings.
    """

    name: str
    tables: list[TableProfile]
    log: TableProfile
    items: TableProfile | None
    users: TableProfile | None
    held_out: dict[str, TableProfile]
    returns: Returns | None
    facts: EventFacts
    item_join: JoinFacts | None
    user_join: JoinFacts | None
    proposal: Proposal

    @property
    def matched_users(self) -> TableProfile | None:
        """The table of users if at least half of the interacting users are in it."""
        good = self.user_join is not None and self.user_join.share >= MIN_MATCHED
        return self.users if good else None

    @property
    def category_separator(self) -> str:
        """Separator of category names; empty if each item has one."""
        table = self.log if self.log.item_roles else self.items
        column = table.column("categories") if table else None
        return separator_of(column) if column else "|"

    @property
    def bad_share(self) -> float:
        """Share of the rows of both tables that `pocketrec data` cannot use."""
        rows = self.log.sample.n_sampled - self.facts.n_left_out
        bad = rows - self.facts.n + self.facts.unreadable_times
        return bad / rows if rows else 0.0

    def dialect_keys(self, table: TableProfile) -> dict[str, tuple[object, str]]:
        """Return the keys of a table's dialect that the recipe needs, each with a comment."""
        dialect = table.sample.dialect
        if dialect is None:
            return {}
        keys: dict[str, tuple[object, str]] = {}
        endings = [each.lower() for each in table.sample.path.suffixes]
        usual = next((USUAL_SEPARATOR[e] for e in endings if e in USUAL_SEPARATOR), "")
        if dialect.separator and dialect.separator != usual:
            keys["separator"] = dialect.separator, ""
        if not dialect.header:
            keys["header"] = False, 'no line with names: the columns are "1", "2", ...'
        if dialect.encoding not in ("utf-8", "utf-8-sig"):
            keys["encoding"] = dialect.encoding, ""
        if table.sample.layout != "rows":
            keys["layout"] = table.sample.layout, "several items in a line"
        return keys


def profile_files(paths: Sequence[Path]) -> Profile:
    """Look at files and choose a recipe for them.

    Raises:
        TableInvalidError: a file cannot be read, or none has interactions.
    """
    tables = profile_tables(paths)
    log = next(table for table in tables if table.holds == "interactions")
    items = next((table for table in tables if table.holds == "items"), None)
    users = next((table for table in tables if table.holds == "users"), None)
    held_out = {
        name: table for table in tables for name, holds in _HELD_OUT if table.holds == holds
    }
    returns = find_returns(log)
    facts = event_facts(log, returns.rows if returns else None)
    return Profile(
        name=recipe_name(log.sample.path),
        tables=tables,
        log=log,
        items=items,
        users=users,
        held_out=held_out,
        returns=returns,
        facts=facts,
        item_join=_join(log.column("item"), items.column("item_id") if items else None),
        user_join=_join(log.column("user"), users.column("user") if users else None),
        proposal=propose(
            log,
            facts,
            has_time=facts.first_ts is not None,
            files={name: table.sample.path for name, table in held_out.items()},
        ),
    )


def recipe_name(path: Path) -> str:
    """Return a name for the recipe: that of the file without endings.

    >>> recipe_name(Path("data/My ratings.csv.gz"))
    'my-ratings'
    """
    plain = path.name
    while (shorter := Path(plain).stem) != plain and Path(plain).suffix:
        plain = shorter
    return re.sub(r"[^\w]+|_+", "-", plain.casefold()).strip("-")[:60] or "recommender"


def _join(ids: ColumnProfile | None, known: ColumnProfile | None) -> JoinFacts | None:
    if ids is None or known is None:
        return None
    return join_facts(ids.counts.keys(), known.counts.keys())
