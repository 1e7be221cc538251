"""Fields of items: each is read by itself, and a bad value is nulled without its item.

In: texts of a source's columns. Out: canonical columns, then arrays.
Read in this order: items.py, the built-in fields; declared.py, the declared features; values.py.
"""
