"""How good slates are, beside peers and published figures."""
