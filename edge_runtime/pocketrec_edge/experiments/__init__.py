"""Experiments on the phone: the arm of this device, what it changes, when it mattered.

In: the signed experiments of the last sync, the bucket id. Out: overrides of an answer, flags,
exposures, sums. Read in this order: signed_experiments.py, arm_memory.py, assigned.py,
arm_settings.py, arm_models.py, slate_arms.py, device_experiments.py, interleaved_slate.py;
run_sums.py, sums_memory.py, sums_outbox.py. Rule: no sockets; whatever is broken, the release
answers as it is.
"""
