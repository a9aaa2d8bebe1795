"""Two models that should be the same network: where their padding differs."""
