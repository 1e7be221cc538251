"""Build the OpenAPI 3.1 document of the server from the description of each route.

Each view carries its description (`described`). The app does not start if a route has none.
"""

import re
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, TypeVar

from flask import Blueprint, Flask, Response, current_app, jsonify

Schema = dict[str, Any]
View = TypeVar("View", bound=Callable[..., Any])

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
ERROR_TEXTS = {
    400: "The request is not valid.",
    401: "The token is missing or not valid.",
    403: "Not allowed.",
    404: "Not found.",
    409: "The request conflicts with the current state.",
    413: "The body is too large.",
    415: "The type or encoding of the body is not supported.",
    416: "The requested range is not in the file.",
    429: "Too many requests; retry after Retry-After seconds.",
    503: "The database is unavailable; retry later.",
}
_ATTRIBUTE = "openapi"
_PARAMETER = re.compile(r"<(?:[a-z]+:)?([a-z_]+)>")


def record(optional: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """Return the schema of an object, whose properties are required if not in `optional`."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def array(items: Schema, most: int | None = None) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items} | ({} if most is None else {"maxItems": most})


ERROR = record(error=TEXT)


def described(
    summary: str,
    *,
    tag: str,
    ok: Schema | str = "application/octet-stream",
    status: int = 200,
    more: dict[int, str] | None = None,
    errors: tuple[int, ...] = (),
    pages: tuple[int, ...] = (),
    path: dict[str, Schema] | None = None,
    query: dict[str, Schema] | None = None,
    headers: dict[str, Schema] | None = None,
    body: Schema | None = None,
    form: Schema | None = None,
    scope: str = "",
) -> Callable[[View], View]:
    """Attach a description to a view.

    Args:
        summary: one line.
        tag: users of the route.
        ok: schema of the JSON response, or the media type of another body.
        status: status of a successful response.
        more: other statuses without an own body, such as 304, with their meaning.
        errors: statuses of errors with the body {"error": text}.
        pages: statuses of errors that are shown as a page.
        path: schemas of the parameters in the path; the default is a string.
        query: schemas of the optional query parameters.
        headers: schemas of the optional request headers.
        body: schema of the JSON body.
        form: schema of the form.
        scope: required scope of the bearer token.
    """
    content = (
        {ok: {"schema": TEXT}} if isinstance(ok, str) else {"application/json": {"schema": ok}}
    )
    responses: dict[str, Any] = {str(status): {"description": "Done.", "content": content}}
    for code, meaning in (more or {}).items():
        responses[str(code)] = {"description": meaning}
    if scope:
        errors = (401, 403, 429, 503, *errors)
    for code in pages:
        responses[str(code)] = {
            "description": ERROR_TEXTS[code],
            "content": {"text/html": {"schema": TEXT}},
        }
    for code in errors:
        error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        responses[str(code)] = {"description": ERROR_TEXTS[code], "content": error}
    operation: dict[str, Any] = {"summary": summary, "tags": [tag], "responses": responses}
    parameters = [
        {"name": name, "in": where, "schema": schema}
        for where, given in (("query", query), ("header", headers))
        for name, schema in (given or {}).items()
    ]
    if parameters:
        operation["parameters"] = parameters
    taken = {"application/json": body, "application/x-www-form-urlencoded": form}
    if bodies := {kind: {"schema": schema} for kind, schema in taken.items() if schema}:
        operation["requestBody"] = {"required": True, "content": bodies}
    if scope:
        operation["security"] = [{"token": [scope]}]

    def mark(view: View) -> View:
        setattr(view, _ATTRIBUTE, (operation, path or {}))
        return view

    return mark


def scope_of(view: Callable[..., Any]) -> str:
    """Return the scope in a view's description.

    Raises:
        LookupError: the description has no scope, so nobody can call the view.
    """
    operation, _ = getattr(view, _ATTRIBUTE)
    for requirement in operation.get("security", ()):
        return str(requirement["token"][0])
    raise LookupError(f"{operation['summary']!r} has no scope")


def document(app: Flask) -> dict[str, Any]:
    """Describe all routes of an app.

    Raises:
        LookupError: a route has no description.
    """
    paths: dict[str, Any] = {}
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        view = app.view_functions[rule.endpoint]
        if not hasattr(view, _ATTRIBUTE):
            raise LookupError(f"{rule.rule}: no `described` on {rule.endpoint}")
        operation, schemas = getattr(view, _ATTRIBUTE)
        named = [
            {"name": name, "in": "path", "required": True, "schema": schemas.get(name, TEXT)}
            for name in _PARAMETER.findall(rule.rule)
        ]
        operation = operation | {"operationId": rule.endpoint.replace(".", "_")}
        if named:
            operation["parameters"] = named + operation.get("parameters", [])
        methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        place = paths.setdefault(_PARAMETER.sub(r"{\1}", rule.rule), {})
        place |= {method.lower(): operation for method in methods}
    return {
        "openapi": "3.1.0",
        "info": {"title": "PocketRec sync server", "version": version("pocketrec")},
        "paths": paths,
        "components": {
            "schemas": {"Error": ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def blueprint() -> Blueprint:
    """Return the route of the document."""
    routes = Blueprint("openapi", __name__)

    @routes.get("/openapi.json")
    @described("This document.", tag="operation", ok={"type": "object"})
    def openapi() -> Response:
        return jsonify(document(current_app))

    return routes
