"""The two fits of a training.

In: a recipe and its data. Out: the folders of a run. `evaluation.py` holds back the newest events,
so its figures are honest. `final.py` learns from all events, and ships. `refit.py` continues the
towers on later events, for the final fit and to answer test cases. `report.py` describes both fits,
`save.py` writes them.
"""
