"""Which execution provider of onnxruntime runs models: the CPU's, unless another is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from padaudit.errors import UsageError

CPU: Final = "CPUExecutionProvider"
_SUFFIX: Final = "ExecutionProvider"
_IN_USE: ContextVar[str] = ContextVar("provider", default=CPU)


def short(provider: str) -> str:
    """Return a provider's name without what all their names end in.

    >>> short("OpenVINOExecutionProvider")
    'OpenVINO'
    """
    return provider.removesuffix(_SUFFIX)


def in_use() -> str:
    """Return the full name of the provider that models run on at this point."""
    return _IN_USE.get()


@contextmanager
def using(name: str | None) -> Iterator[None]:
    """Run models on a provider within this block.

    Parameters
    ----------
    name : str or None
        ``cuda`` or ``CUDAExecutionProvider``, in any case; None leaves all as it is.

    Raises
    ------
    UsageError
        If onnxruntime, as it is installed here, does not have it.
    """
    token = _IN_USE.set(_IN_USE.get() if name is None else resolved(name))
    try:
        yield
    finally:
        _IN_USE.reset(token)


def resolved(name: str) -> str:
    """Return the full name of a provider that is available.

    Raises
    ------
    UsageError
        If onnxruntime, as it is installed here, does not have it.
    """
    wanted = name.lower()
    if wanted in {CPU.lower(), short(CPU).lower()}:
        return CPU
    from padaudit.verification.runner import available_providers

    runtime, available = available_providers()
    for provider in available:
        if wanted in {provider.lower(), short(provider).lower()}:
            return provider
    known = ", ".join(available) or "none at all"
    raise UsageError(
        f"--provider {name}: {runtime} has no such execution provider here; it has {known}"
    )
