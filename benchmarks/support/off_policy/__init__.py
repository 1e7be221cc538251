"""Logs with a known truth, for the benchmark `off-policy`: drawn ones, and Open Bandit Data."""
