"""Table profile: files of any shape become a recipe (`pocketrec init`).

In: paths of tables. Out: a `Profile`, i.e. the role of each column and facts of the tables, and the
text of a recipe. Nothing is asked, and no file is read as a whole if it is large.

Read in this order: sample.py with nested_sample.py and layouts.py, rows from three places of a
file; columns.py and times.py, facts of a column; names.py, usual names; roles.py and items.py, the
role of each column; tables.py, which file holds what; joins.py and facts.py, facts of both tables
together; proposal.py, split and sizes; profile.py, all of it; recipe_text.py and report.py, how it
is written.
"""
