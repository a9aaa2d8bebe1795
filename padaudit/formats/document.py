"""What the documents of all formats have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Document(Protocol):
    """A model's definition as it stands in its file; edits are made on it, losslessly."""

    @property
    def path(self) -> Path | None:
        """The file; None for a model that came from memory."""

    @property
    def format(self) -> str:
        """Return the format's name.

        One of ``keras-h5``, ``keras-v3``, ``keras-json``, ``tfjs-layers``,
        ``keras-saved-model`` and ``onnx``.
        """
