"""The OpenAPI document and the routes are one."""

import re

import jsonschema_rs
import pytest
from flask import Flask

from pocketrec_server.app import create_app
from pocketrec_server.http.openapi import described, document, scope_of
from pocketrec_server.settings import Settings


@pytest.fixture
def app(tmp_path):
    return create_app(Settings(repo=tmp_path / "repo", log_requests=False))


def test_every_route_is_described_and_nothing_else(app):
    there = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    told = app.test_client().get("/openapi.json").json
    assert told["openapi"].startswith("3.1.")
    assert {(path, method) for path, place in told["paths"].items() for method in place} == there
    assert ("/v1/events", "post") in there
    for path, place in told["paths"].items():
        named = set(re.findall(r"{(\w+)}", path))
        for operation in place.values():
            given = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
            assert given == named


def test_the_schemas_are_json_schema_2020_12(app):
    found = 0
    for place in document(app)["paths"].values():
        for operation in place.values():
            bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
            for content in (body.get("content", {}) for body in bodies):
                for media in content.values():
                    assert jsonschema_rs.meta.is_valid(media["schema"])
                    found += 1
    assert found > 30


def test_operation_ids_are_unique(app):
    places = document(app)["paths"].values()
    ids = [operation["operationId"] for place in places for operation in place.values()]
    assert len(ids) == len(set(ids))


def test_every_admin_route_names_a_scope(app):
    views = [
        app.view_functions[rule.endpoint]
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/v1/admin/")
    ]
    assert len(views) == 4
    assert {scope_of(view) for view in views} == {"read", "operate"}


def test_a_route_without_a_description_is_a_bug():
    app = Flask("bare", static_folder=None)
    app.get("/bare")(lambda: "")
    with pytest.raises(LookupError, match=r"/bare: no `described`"):
        document(app)


def test_a_description_without_a_scope_lets_nobody_in():
    @described("Nothing.", tag="t")
    def view():
        pass

    with pytest.raises(LookupError, match="has no scope"):
        scope_of(view)
