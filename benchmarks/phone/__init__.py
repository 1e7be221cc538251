"""What a phone spends on a slate: milliseconds, memory, bytes."""
