"""The padding formulas, written once."""
