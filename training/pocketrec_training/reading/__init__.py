"""Reading: bytes of a stranger's table become rows of text.

In: a file. Out: its encoding, separator, quoting and header.
"""
