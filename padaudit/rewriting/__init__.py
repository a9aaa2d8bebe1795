"""From sites to edits, and from edits to a written model."""
