"""Two towers: the first stage.

In: sequences of interactions. Out: a user tower, an item tower, item vectors.
Read in this order: user_tower.py, item_tower.py with item_content.py, feature_inputs.py and
word_codes.py, sequences.py, losses.py, step.py with schedule.py, fit.py, user_vectors.py;
data_parallel.py shares batches over devices.
"""
