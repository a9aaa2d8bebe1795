"""In which types the layers of a Keras model compute."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_COARSE: Final = ("bfloat16", "float16")
"""The types that round more than float32 does, the coarsest first."""


def coarsest_type(config: Any) -> str | None:
    """Return the coarsest type that any layer of a model computes in.

    Parameters
    ----------
    config : dict
        The model's config, of any version of Keras.

    Returns
    -------
    str or None
        None where nothing is coarser than float32.

    Examples
    --------
    >>> coarsest_type({"layers": [{"config": {"dtype": {"config": {"name": "mixed_float16"}}}}]})
    'float16'
    """
    policies = set(_policies(config))
    return next((name for name in _COARSE if name in policies), None)


def _policies(config: Any) -> Iterator[str]:
    """Yield the types that a config states; of a policy, the one that it computes in."""
    waiting = [config]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            name = item.get("dtype")
            if isinstance(name, dict):
                name = (name.get("config") or {}).get("name")
            if isinstance(name, str):
                yield name.rpartition("_")[2]
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
