"""What reaches phones: bytes, fleets, halts, processes that are killed."""
