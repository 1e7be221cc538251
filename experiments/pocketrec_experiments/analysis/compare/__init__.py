"""Compare two arms: day by day, at the end, in parts of the population, by days since exposure.

In: sums of days (`analysis/daily.py`) and a row a user (`analysis/totals.py`). Out: effects.
Files: looks.py for peeking, fixed.py for one look (tea-tasting), segments.py, novelty.py.
"""
