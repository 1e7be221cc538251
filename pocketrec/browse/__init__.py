"""The text UI of a phone: `session.py` holds the state, `view.py` draws it with rich."""
