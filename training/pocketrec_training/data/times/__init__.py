"""Times: texts of any form become unix seconds.

In: the time column of a raw table. Out: a rule that reads it; refusals of times that cannot be.
Read in this order: forms.py, rule.py.
"""
