"""The text UI of a phone: `session.py` knows what is going on, `view.py` draws it with rich."""
