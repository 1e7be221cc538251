"""Reading: bytes of a stranger's files become rows of text.

In: a file, folder or glob and its `TableSpec`. Out: a `RawTable` and the lines set aside.
Read in this order: spec.py, files.py; decode.py, sniff.py and separator.py, fields.py,
text_rows.py and layouts.py; json_rows.py; parquet.py; xlsx.py; batch.py, scratch.py and
raw_table.py; table.py.
Rule: all values stay the texts that the file has. Damage within a line costs that line; what makes
the rest of a file doubtful is refused.
"""
