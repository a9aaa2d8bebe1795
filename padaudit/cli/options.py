"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from padaudit.cli.clicks import click
from padaudit.cli.config import ConfigFile
from padaudit.formats.shape_options import InputShapes, parse_input_shapes

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


def engine_option(command: Command) -> Command:
    """Add ``--engine``."""
    return click.option(
        "--engine",
        type=click.Choice(("padaudit", "keras")),
        default="padaudit",
        show_default=True,
        help="Keras models, sizes: read from the definition alone, or asked of Keras itself, "
        "which needs --trust-model.",
    )(command)


def sizes(options: Mapping[str, Any], config: ConfigFile) -> InputShapes:
    """Return what the options that speak of sizes say.

    Raises
    ------
    UsageError
        If one of them is no shape, or Keras is to load a model that is not trusted.
    """
    from padaudit.formats.keras.ask import require_trust

    require_trust(options["engine"], options["trust_model"])
    return replace(
        parse_input_shapes(options["input_shape"]),
        assumed=config.assumptions(options["assume"]),
        engine=options["engine"],
        timeout=options["timeout"],
    )


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


def memory_option(command: Command) -> Command:
    """Add ``--memory-limit``."""
    return click.option(
        "--memory-limit",
        type=click.IntRange(min=1),
        metavar="MIB",
        help="How much memory one run of a model may take, in onnxruntime or Keras (POSIX).",
    )(command)


def inputs_option(what: str) -> Callable[[Command], Command]:
    """Return what adds ``--inputs``, with the help text that it has."""
    return click.option(
        "--inputs",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE.npz",
        help=what,
    )


def provider_option(command: Command) -> Command:
    """Add ``--provider``."""
    return click.option(
        "--provider",
        metavar="NAME",
        help="The execution provider on which onnxruntime runs whole models (cuda, openvino, "
        "CUDAExecutionProvider, ...). Default: the CPU's, the only one that is exact.",
    )(command)


def evidence_option(command: Command) -> Command:
    """Add ``--evidence``."""
    return click.option(
        "--evidence",
        type=click.Path(path_type=Path),
        metavar="FILE.json",
        help="Write an audit trail: hashes, versions, seeds, sizes, tolerances, all figures.",
    )(command)
