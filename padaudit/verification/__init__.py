"""The proof that a rewritten model computes the same."""
