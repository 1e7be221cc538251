"""Networks of the benchmarks: a proxy with faults, loopback networks, and what peers send."""
