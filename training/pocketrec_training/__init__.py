"""Training: two tables and a recipe become a run folder.

In: tables of interactions and items, a recipe. Out: two towers, a ranker, item vectors, reports.
Read in this order: recipe/, data/, towers/, cold_start/, ranker/, fits/, train.py with
run_folder.py, then metrics/, baselines/, evaluation/, and tuning/ and warm_start/. trained.py opens
a finished run, its models by saved_model.py.
Rule of the room: nothing of the server, the export or the device is imported.
"""
