"""padaudit: finds implicit padding in models, makes it explicit, and proves the result.

>>> import padaudit
>>> report = padaudit.check("fixtures/digits.h5")  # doctest: +SKIP
>>> [finding.rule for finding in report.findings]  # doctest: +SKIP
['PAD102', 'PAD101']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from padaudit.api import check, explicit, load, rewrite, verify, verify_backends

__all__ = [
    "__version__",
    "check",
    "explicit",
    "load",
    "rewrite",
    "verify",
    "verify_backends",
]


def __getattr__(name: str) -> Any:
    """Import the API on first use, so that the command line starts fast."""
    if name in __all__:
        from padaudit import api

        return getattr(api, name)
    raise AttributeError(f"module 'padaudit' has no attribute '{name}'")
