"""click, with rich_click's help pages where a page is asked for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
elif {"-h", "--help"} & set(sys.argv) or len(sys.argv) == 1:
    import rich_click as click
else:
    import click

__all__ = ["click"]
