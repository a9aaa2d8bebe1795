"""Keras models, without Keras."""
