"""A profile as a short recipe with comments."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from pocketrec_training.table_profile.profile import Profile
from pocketrec_training.table_profile.proposal import Setting

WIDTH = 100
"""Characters, beyond which a comment stands above its key."""
ORDER = (
    "name",
    "data",
    "columns",
    "events",
    "split",
    "retrieval",
    "neighbours",
    "ranker",
    "rerank",
)


def recipe_text(profile: Profile) -> str:
    """Return the recipe of a profile as TOML; each choice has its reason as a comment.

    A key that a person has to decide has the list of possible values. `load_recipe` then stops and
    names the key.
    """
    sections: dict[str, list[str]] = {name: [] for name in ORDER}
    sections["data"] += [*_data(profile), *_dialects(profile)]
    sections["columns"] += _columns(profile)
    for setting in (profile.proposal.split, *profile.proposal.settings):
        section, _, key = setting.key.partition(".")
        sections[section].append(_line(key, setting.value, setting.why))
    lines = [
        "# Written by `pocketrec init`. Every key: docs/recipe.md.",
        _line("name", profile.name, ""),
        "seed = 7",
    ]
    for name, keys in sections.items():
        if keys:
            lines += ["", f"[{name}]", *keys] if keys[0] else keys
    return "\n".join(lines) + "\n"


def questions(profile: Profile) -> list[tuple[str, tuple[str, ...]]]:
    """Return the keys that a person has to decide, and their possible values."""
    found = []
    for role, choice in profile.log.roles.items():
        if choice.others:
            found.append((f"columns.{role}", (choice.column, *choice.others)))
    if len(formats := _formats(profile)) > 1:
        found.append(("columns.timestamp_format", formats))
    return found


def _data(profile: Profile) -> Iterator[str]:
    log = profile.log
    if not (profile.dialect_keys(log)):
        yield _line("interactions", log.sample.path.as_posix(), f"{log.sample.n_rows:,} rows")
    items = profile.items
    if log.item_roles:
        if not profile.dialect_keys(log):
            yield _line("items", log.sample.path.as_posix(), "the same file describes its items")
    elif items and not profile.dialect_keys(items):
        yield _line("items", items.sample.path.as_posix(), f"{items.sample.n_rows:,} rows")
    users = profile.matched_users
    if users and not profile.dialect_keys(users):
        yield _line("users", users.sample.path.as_posix(), f"{users.sample.n_rows:,} rows")
    bad = profile.bad_share
    if bad > 0.005:
        allowed = min(1.0, math.ceil(100 * (1.1 * bad + 0.005)) / 100)
        yield _line("max_bad_share", allowed, f"{bad:.1%} of the rows lack an id or a time")


def _dialects(profile: Profile) -> Iterator[str]:
    """Yield the tables of files that are not written in the usual way."""
    log, items = profile.log, profile.log if profile.log.item_roles else profile.items
    tables = (("interactions", log), ("items", items), ("users", profile.matched_users))
    for section, table in tables:
        if table is None or not (keys := profile.dialect_keys(table)):
            continue
        yield from ("", f"[data.{section}]", _line("file", table.sample.path.as_posix(), ""))
        for key, (value, why) in keys.items():
            yield _line(key, value, why)
    if profile.returns:
        why = "rows that are not above it are left out, such as returns"
        yield from ("", "[data.above]", _line(_key(profile.returns.column), 0, why))


def _columns(profile: Profile) -> Iterator[str]:
    log = profile.log
    for role in ("user", "item", "timestamp", "event", "value"):
        choice = log.roles.get(role)
        if choice is None:
            if role == "timestamp":
                yield _line("timestamp", "", "there is no column of times")
            continue
        if choice.others:
            names = [choice.column, *choice.others]
            yield _line(role, names, "not sure: choose one and remove the brackets")
        else:
            yield _line(role, choice.column, choice.why)
        if role == "timestamp":
            yield from _time_keys(profile)
    if users := profile.matched_users:
        key = users.roles["user"].column
        if key != log.roles["user"].column:
            yield _line("user_id", key, "in the table of users")
    roles = log.item_roles or (profile.items.roles if profile.items else {})
    for role, choice in roles.items():
        yield _line(role, choice.column, choice.why)
        if role == "categories":
            yield from _separator(profile)


def _time_keys(profile: Profile) -> Iterator[str]:
    column = profile.log.column("timestamp")
    form = column and column.time
    if not form:
        return
    if form.by_name:
        yield _line("timestamp_unit", form.unit, form.told)
    formats = _formats(profile)
    if len(formats) > 1:
        why = "not sure: day or month first? Choose one and remove the brackets"
        yield _line("timestamp_format", list(formats), why)
    elif formats:
        yield _line("timestamp_format", formats[0], "")


def _formats(profile: Profile) -> tuple[str, ...]:
    column = profile.log.column("timestamp")
    return column.time.formats if column and column.time else ()


def _separator(profile: Profile) -> Iterator[str]:
    mark = profile.category_separator
    if mark != "|":
        yield _line("categories_separator", mark, "" if mark else "one category an item")


def _line(key: str, value: object, why: str) -> str:
    line = f"{key} = {_toml(value)}"
    if not why:
        return line
    comment = f"# {printable(why)}"
    short = f"{line}  {comment}"
    return short if len(short) <= WIDTH else f"{comment}\n{line}"


def _key(name: str) -> str:
    """Return a name as a key of TOML, quoted if it has to be."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def printable(text: str) -> str:
    """Return a text from a file without line ends and control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if isinstance(value, str):
        # JSON's escapes are TOML's; DEL alone has to be escaped here and not there.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def settings_of(profile: Profile) -> list[Setting]:
    """Return all settings of the proposal, the split first."""
    return [profile.proposal.split, *profile.proposal.settings]
