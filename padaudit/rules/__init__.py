"""The tables of the top-level ``rules/`` folder."""
