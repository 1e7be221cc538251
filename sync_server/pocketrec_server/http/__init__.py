"""HTTP: modules that all routes use.

In: requests. Out: descriptions (OpenAPI), decoded bodies, metrics, log lines.
Reading order: openapi.py, content_coding.py, networks.py, request_log.py with json_lines.py,
metrics.py, front.py.
"""
