"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from padaudit.cli.clicks import click

Command = TypeVar("Command", bound=Callable[..., Any])


def input_shape_option(command: Command) -> Command:
    """Add ``--input-shape``."""
    return click.option(
        "--input-shape",
        "input_shape",
        multiple=True,
        metavar="[NAME=]1,224,224,3",
        help="Fix the shape of an input, batch axis first (? leaves a size open).",
    )(command)


def architecture_option(command: Command) -> Command:
    """Add ``--architecture``."""
    return click.option(
        "--architecture",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="MODEL.json",
        help="The definition that a file of weights alone is of (model.to_json()).",
    )(command)


def assume_option(command: Command) -> Command:
    """Add ``--assume``."""
    return click.option(
        "--assume",
        multiple=True,
        metavar="LAYER=same|HxWxC",
        help="Keras: the output shape, behind the batch axis, of a custom layer or Lambda (by "
        "name or class); same: that of its input.",
    )(command)


def timeout_option(command: Command) -> Command:
    """Add ``--timeout``."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=600.0,
        show_default=True,
        metavar="SECONDS",
        help="How long one run of a model may take.",
    )(command)
