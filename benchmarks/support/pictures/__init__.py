"""Pictures of README.md and the guides, drawn by a browser or from results."""
