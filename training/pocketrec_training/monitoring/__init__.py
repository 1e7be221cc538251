"""What a person sees of a training, and what ends it early.

In: epochs as they end. Out: progress bars, logs of curves, caps in minutes and their sentences.
Read in this order: progress.py, counted_time.py, stopping.py, experiment_log.py.
"""
