"""Signed JSON settings, each with its own version and checks.

In: parsed JSON. Out: frozen dataclasses.
Read in this order: policy.py; rules.py; campaigns.py (these travel in a release);
form.py; app_versions.py; rollout.py; halts.py; experiment_arms.py; experiment.py; experiments.py
(these are signed for a channel); model_sets.py (rankers of arms in a release); assignment.py (the
arm of a device); experiment_sums.py (what a device sends of its arm). release_name.py checks the
name of a release.
"""
