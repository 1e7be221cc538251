"""What a phone sends: events, sums of experiments, outcomes of releases; with consent alone."""
