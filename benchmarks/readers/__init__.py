"""What readers of a bundle refuse, and which of their faults golden vectors catch."""
