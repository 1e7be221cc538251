"""The edge_runtime room."""
