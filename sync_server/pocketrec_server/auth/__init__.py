"""Authentication and audit.

In: a token or a session cookie. Out: who it is and what they may do.
Read in this order: tokens.py, authenticator.py with failures.py, sessions.py, audit.py.
"""
