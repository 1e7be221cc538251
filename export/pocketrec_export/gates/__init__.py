"""Gates: which model file each target gets.

In: converted files, a trained run. Out: figures of each file, the choice per target.
Read in this order: inputs.py, measure.py, conversions.py, on_device.py, quality.py, losses.py,
checks.py, choose.py with rows.py; gain_gate.py compares the run with a baseline, and shipped.py
lets `evaluate` score a bundle.
"""
