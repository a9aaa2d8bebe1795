"""``python -m padaudit``, and the command ``padaudit``."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line; an interrupt while its modules are imported just ends it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from padaudit.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
