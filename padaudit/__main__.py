"""``python -m padaudit``."""

from padaudit.cli.app import main

if __name__ == "__main__":
    main()
