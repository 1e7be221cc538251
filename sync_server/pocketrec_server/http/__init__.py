"""HTTP: what every route uses. It knows no route.

In: requests. Out: descriptions (OpenAPI), decoded bodies, metrics, log lines.
Read in this order: openapi.py, content_coding.py, networks.py, request_log.py with json_lines.py,
metrics.py.
"""
