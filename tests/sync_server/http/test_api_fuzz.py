"""The whole HTTP API under generated requests: no 5xx, and every answer is as described.

POCKETREC_FUZZ_EXAMPLES=500 asks more of each route than the suite has time for.
"""

import os
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from pocketrec_server.app import create_app
from pocketrec_server.auth import tokens
from pocketrec_server.process import HINTS
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, publish
from pocketrec_server.settings import Settings
from pocketrec_server.storage.database import default_url, open_database

schemathesis = pytest.importorskip("schemathesis")
EXAMPLES = int(os.environ.get("POCKETREC_FUZZ_EXAMPLES", "20"))
schemathesis.checks.load_all_checks()
CHECKS = schemathesis.checks.CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    ]
)
MODES = schemathesis.GenerationMode


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory, tiny_release):
    """(app, headers) over a published repository, with its keys; the headers may operate."""
    work = tmp_path_factory.mktemp("fuzz")
    make_keys(work / "keys")
    found_repository(work / "repo", load_signers(work / "keys"))
    publish(tiny_release, work / "repo", load_signers(work / "keys"), "stable")
    engine = open_database(default_url(work / "repo"))
    text, _ = tokens.make(engine, "fuzz", tokens.OPERATE, 1, int(time.time()))
    app = create_app(Settings(repo=work / "repo", keys=work / "keys", log_requests=False))
    app.extensions[HINTS].is_stopping = lambda: True  # streams end at once
    app.config["PROPAGATE_EXCEPTIONS"] = False  # a crash is an answer 500, as when served
    answer = app.test_client().post("/admin/login", data={"token": text})
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    return app, {"Authorization": f"Bearer {text}", "Cookie": cookie}


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("known", [True, False], ids=["known", "stranger"])
def test_whatever_is_sent_is_answered_as_described(fuzzed, mode, known):
    app, headers = fuzzed
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app)
    operations = [result.ok() for result in schema.get_all_operations()]
    sent = [ask(operation, mode, headers if known else {}) for operation in operations]
    assert sum(n > 0 for n in sent) >= (len(operations) if mode is MODES.POSITIVE else 9)


def ask(operation, mode, headers):
    """Send requests to one operation, of its schema or against it; returns how many."""
    sent = 0

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case):
        nonlocal sent
        case.call_and_validate(headers=headers, checks=CHECKS)
        sent += 1

    with suppress(Unsatisfiable):  # nothing can be wrong with a request without parameters
        send()
    return sent
