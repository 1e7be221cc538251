"""Bytes to values and back: strict JSON, array files, columns, sorted ids, deltas.

In: bytes of a file. Out: checked values, mapped arrays, ids by rank; or the bytes of a delta.
Read in this order: strict_json.py; arrays.py with array_checks.py; columns.py with sparse_rows.py;
sorted_ids.py with cell_order.py; delta.py with copies.py. svg_axes.py is for the pages of reports.
"""
