"""Auth: authentication and the audit log.

In: a token or a session cookie. Out: the person and the scope.
Reading order: tokens.py, authenticator.py with failures.py, sessions.py, audit.py.
"""
