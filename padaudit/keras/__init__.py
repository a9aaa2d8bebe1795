"""Layers for Keras 3 (all backends). Import this module before you load a model that has them."""

from __future__ import annotations

from padaudit.keras.same_padding import SamePadding

__all__ = ["SamePadding"]
