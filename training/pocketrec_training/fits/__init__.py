"""The two fits of a training.

In: a recipe and its data. Out: the folders of a run. `evaluation.py` holds back the newest events,
so its figures are honest. `final.py` learns from all events, and ships. `report.py` describes both,
`save.py` writes them.
"""
