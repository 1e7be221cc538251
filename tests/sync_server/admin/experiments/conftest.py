"""An experiment on a channel, and the site's buttons for it."""

import json
import re
import time
from typing import Any

import pytest

from pocketrec_server.experiments.signing import read_experiments, start
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.storage.database import default_url, open_database, writing
from pocketrec_server.storage.tables import EVENT, INSTALL

ARMS = [
    {"name": "control", "share": 0.5},
    {"name": "treatment", "share": 0.5, "flags": {"big": True}},
]


@pytest.fixture
def engine(tiny_repo):
    return open_database(default_url(tiny_repo))


@pytest.fixture
def running(tiny_repo, two_releases, tmp_path):
    plan: dict[str, Any] = {"id": "blend", "hypothesis": "bigger <b>titles</b>", "arms": ARMS}
    plan["until_utc"] = int(time.time()) + 28 * 86_400
    plan["guardrails"] = [{"metric": "conversion", "worse_by": 0.05, "alpha": 0.01}]
    return start(tiny_repo, load_signers(tmp_path / "keys"), "stable", plan)


@pytest.fixture
def signed(tiny_repo):
    """Return a function: -> the experiment of the channel as it is signed now."""

    def read():
        found = read_experiments(tiny_repo, "stable").find("blend")
        assert found is not None
        return found

    return read


@pytest.fixture
def confirm():
    """Return a function: person, action -> the page that asks for a reason, what was sent."""

    def ask(person, action, **more):
        sent = {"channel": "stable", "experiment": "blend", "action": action} | more
        page = person.client.get("/admin/experiments/confirm", query_string=sent)
        assert page.status_code == 200, page.text
        return page.text, sent

    return ask


@pytest.fixture
def press(confirm):
    """Return a function: person, action, reason -> the answer to the confirmed action."""

    def do(person, action, reason="because", **more):
        page, sent = confirm(person, action, **more)
        (version,) = re.findall(r'name="version" value="([^"]+)"', page)
        data = sent | {"csrf": person.csrf(), "reason": reason, "version": version}
        return person.client.post("/admin/experiments/actions", data=data)

    return do


@pytest.fixture
def expose(engine):
    """Return a function: experiment, arm, number of installs, the first one -> stores exposures."""

    def store(one, arm, n, first, **more):
        with writing(engine) as connection:
            for at in range(first, first + n):
                row = {"number": at, "install_id": f"i{at}", "first_utc": 1, "last_utc": 1}
                row |= {"tokens": 1, "tokens_utc": 1, "quota_day": 1, "quota_used": 1}
                connection.execute(INSTALL.insert().values(**row))
                context = {"arm": arm, "salt": one.salt[:8]} | more
                event = {
                    "install": at,
                    "id": "e",
                    "kind": "exposure",
                    "item_id": "",
                    "event": one.id,
                }
                text = json.dumps(context, separators=(",", ":"))  # as an upload is stored
                event |= {"value": None, "ts": one.from_utc + 5, "context": text}
                connection.execute(EVENT.insert().values(**event))

    return store
