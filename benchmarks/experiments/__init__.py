"""Statistics of experiments: false winners, CUPED, the time of a report.

experiment.py is the benchmark; false_winners.py, narrowing.py and report_time.py have its parts,
drawn_events.py draws exports.
"""
