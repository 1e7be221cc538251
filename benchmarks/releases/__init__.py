"""What the next release costs: training, and updates of a catalogue without it."""
