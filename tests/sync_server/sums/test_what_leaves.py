"""docs/device/what-leaves.md against what a real phone sends to a real server, byte by byte."""

import gzip
import json
import re

import pytest

from pocketrec_bundle.settings.experiment_sums import BODY_BYTES, LIMITS
from pocketrec_bundle.units import DAY_S
from pocketrec_edge.sync.client import sync

PAGE = "docs/device/what-leaves.md"
STATES = {
    "unknown": None,
    "withdrawn": {"consent": False},
    "sums": {"consent": True, "only_sums": True},
    "granted": {"consent": True},
}
SENT = {
    "unknown": set(),
    "withdrawn": set(),
    "sums": {"/v1/sums"},
    "granted": {"/v1/events", "/v1/outcomes", "/v1/sums"},
}
RANDOM = ("id", "batch", "install_id", "request", "session", "salt", "manifest", "ts")


@pytest.fixture
def page(repository) -> str:
    return (repository / PAGE).read_text()


@pytest.fixture
def posted(site, slate_of):
    """Return a function: consent -> bodies by path that a phone posts in its first two syncs."""

    def run(consent, name, *, slates=2):
        phone = site.phone(name)
        at = site.start_utc + 100
        if consent:
            phone.log(**consent)
        root = site.repo / "metadata" / "1.root.json"
        begun = len(site.recorder.requests)
        sync(phone.home, site.url, lambda _: None, root_path=root, clock=lambda: at)
        events = [*slate_of(at, "AAAAAAAAAAA", items=["film 1"], clicked=["film 1"])]
        if slates == 2:
            day = DAY_S
            before = slate_of(
                at - day, "AAAAAAAAAAB", items=["film 1", "film 2", "film 3"], clicked=["film 2"]
            )
            after = slate_of(
                at + 5,
                "AAAAAAAAAAC",
                items=["film 2", "film 3", "film 4"],
                clicked=["film 3"],
                bought=("film 3", 12.5),
            )
            events = [*before, phone.exposed(at), *after]
        phone.log(*events)
        sync(phone.home, site.url, lambda _: None, clock=lambda: at + 60)
        new = site.recorder.requests[begun:]
        for method, _, headers, _ in new:
            allowed = {"HOST", "USER_AGENT", "ACCEPT_ENCODING", "IF_NONE_MATCH", "RANGE"}
            if method == "POST":
                allowed |= {"CONTENT_TYPE", "CONTENT_LENGTH", "CONTENT_ENCODING"}
            assert headers <= allowed
        assert {method for method, *_ in new} <= {"GET", "POST"}
        return {path: body for method, path, _, body in new if method == "POST"}

    return run


def masked(value, key=""):
    """Replace what is random or a time by its kind."""
    if isinstance(value, dict):
        return {name: masked(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [masked(one) for one in value]
    if key in RANDOM:
        return type(value).__name__
    return value


def examples(page: str) -> list:
    return [json.loads(text) for text in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]


@pytest.mark.parametrize("state", STATES)
def test_a_state_sends_the_requests_that_its_row_says(page, posted, state):
    row = re.search(rf"^\| `{state}`.*$", page, re.MULTILINE)
    assert row is not None
    columns = re.findall(r"`POST (/v1/\w+)`", page.split("\n| `unknown`")[0])
    cells = [cell.strip() for cell in row[0].split("|")[3:-1]]
    said = {path for path, cell in zip(columns, cells, strict=True) if cell == "yes"}
    assert set(posted(STATES[state], state)) == said == SENT[state]


def test_the_example_of_sums_is_what_a_phone_sends(page, posted):
    body = posted(STATES["sums"], "phone")["/v1/sums"]
    assert len(body) == BODY_BYTES
    text = body.decode().rstrip(" ")
    sent, shown = json.loads(text), examples(page)[0]
    assert text == json.dumps(sent, separators=(",", ":"))  # no space within
    assert masked(sent) == masked(shown)
    assert sent["sums"]["revenue_cents"] == 1250
    for name in LIMITS:
        assert f"`{name}`" in page
    for name in sent:
        assert f"`{name}`" in page


def test_the_examples_of_events_and_outcomes_are_what_a_phone_sends(page, posted):
    bodies = posted(STATES["granted"], "phone", slates=1)
    _, events, outcomes = examples(page)
    assert masked(json.loads(gzip.decompress(bodies["/v1/events"]))) == masked(events)
    assert masked(json.loads(bodies["/v1/outcomes"])) == masked(outcomes)
    assert "/v1/sums" not in bodies  # no exposure


def test_the_ids_of_a_phone_are_not_those_of_its_events(posted):
    bodies = posted(STATES["granted"], "phone")
    sums_id = json.loads(bodies["/v1/sums"])["id"]
    assert sums_id.encode() not in gzip.decompress(bodies["/v1/events"]) + bodies["/v1/outcomes"]
    again = json.loads(posted(STATES["granted"], "other")["/v1/sums"])["id"]
    assert sums_id != again
