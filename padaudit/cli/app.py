"""The command line: assembles the commands and turns errors into sentences and exit codes."""

from __future__ import annotations

import gc
import sys
from typing import Final, NoReturn

from padaudit import __version__
from padaudit.cli.check import check
from padaudit.cli.clicks import click
from padaudit.cli.compare import compare
from padaudit.cli.console import complain, never_fail_to_encode
from padaudit.cli.explain import explain
from padaudit.cli.rewrite import rewrite
from padaudit.cli.rules import rules
from padaudit.cli.verify import verify
from padaudit.errors import PadauditError, RuleFileError
from padaudit.interrupts import exit_code, farewell, handled, raise_if_requested, requested

EXIT_ERROR: Final = 2
_BUG: Final = 70
_GC_THRESHOLD: Final = 200_000
"""A graph of 100,000 nodes is many objects and no garbage: looking for some costs an eighth."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="padaudit")
def cli() -> None:
    """Find implicit padding in Keras and ONNX models, make it explicit, and prove the result.

    Exit codes: 0 clean, written and proven, or equivalent; 1 findings, not proven, or
    different; 2 a model or a command that can't be used.
    """


for command in (check, rewrite, verify, compare, explain, rules):
    cli.add_command(command)


def main() -> None:
    """Run the command line."""
    never_fail_to_encode()
    gc.set_threshold(_GC_THRESHOLD, *gc.get_threshold()[1:])
    try:
        with handled():
            code = cli.main(standalone_mode=False)
            raise_if_requested()
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.UsageError as error:
        error.show()
        sys.exit(EXIT_ERROR)
    except click.ClickException as error:
        complain(error.format_message())
        sys.exit(EXIT_ERROR)
    except RuleFileError as error:
        complain(f"padaudit itself is damaged: {error}")
        sys.exit(_BUG)
    except PadauditError as error:
        if requested():
            _stop()
        complain(str(error))
        sys.exit(EXIT_ERROR)
    except (KeyboardInterrupt, click.Abort):
        _stop()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        where = error.filename or "the system"
        complain(f"{where}: {error.strerror or error}; check the space left and the permissions.")
        sys.exit(EXIT_ERROR)


def _stop() -> NoReturn:
    complain(farewell())
    sys.exit(exit_code())
