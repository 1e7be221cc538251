"""Large worlds and exact searches for the benchmark of the device."""
