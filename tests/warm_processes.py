"""Processes of padaudit that begin where their packages are imported already.

Importing TensorFlow takes seven seconds of a processor and onnxruntime a third of one, and the
suite starts hundreds of processes that import one of them. Here each kind is imported once, by a
process that forks whenever one is started. All else is what it is for users: what a process gets,
how it answers, how it is stopped and how its end is told. Tests of the start itself, and all of
the command line in a process of its own, begin cold.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, NoReturn

from padaudit import subprocesses

ONNX = ("padaudit.verification.worker", "onnxruntime")
KERAS = (
    "padaudit.formats.keras.worker",
    "padaudit.formats.keras.shape_worker",
    "padaudit.formats.keras.saved_model_worker",
    "padaudit.formats.keras.translation.export",
    "tensorflow",
    "padaudit.keras",
)
SERVERS = {module: names for names in (ONNX, KERAS) for module in names if "worker" in module}
LARGEST = 1 << 17
LONGEST_START, LONGEST_END = 180, 10
"""Seconds: an import of TensorFlow on a loaded machine, and what a server needs to end."""
AS_WORKERS = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "tensorflow",
    "ORT_DISABLE_TELEMETRY": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
"""What workers put into their environment before they import anything."""
cold_start = subprocesses.start


class Forked:
    """As much of a `subprocess.Popen` as padaudit uses, for a process that is not our child."""

    stdin = None
    """It does not watch for our end (`padaudit.child`): the suite stops what it starts."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self._connection = connection
        self.returncode: int | None = None

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                self.returncode = int(self._connection.recv(LARGEST))
            except (BlockingIOError, TimeoutError):
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0) from None
            self._connection.close()
        return self.returncode


class Server:
    """A process that imports modules once, and forks itself to run one of them."""

    def __init__(self, modules: tuple[str, ...], errors: IO[bytes]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            root = Path(subprocesses.__file__).parents[1]
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), *modules],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **AS_WORKERS, "PYTHONPATH": str(root)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        self._errors = errors

    def start(self, module: str, folder: Path, errors: IO[bytes]) -> Forked:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            message = json.dumps([module, str(folder), dict(os.environ)]).encode()
            socket.send_fds(self._socket, [message], [theirs.fileno(), errors.fileno()])
        ours.settimeout(LONGEST_START)
        number = b""
        with suppress(TimeoutError):
            number = ours.recv(LARGEST)
        if not number:
            self._errors.seek(0)
            raise RuntimeError(f"no warm process: {self._errors.read().decode()}")
        return Forked(int(number), ours)

    def stop(self) -> None:
        self._socket.close()
        try:
            self._process.wait(LONGEST_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def warm() -> Iterator[None]:
    """Let the processes of padaudit begin warm."""
    servers: dict[tuple[str, ...], Server] = {}
    with ExitStack() as stack:

        def start(module: str, folder: Path, errors: IO[bytes]) -> Any:
            modules = SERVERS.get(module)
            if modules is None:
                return cold_start(module, folder, errors)
            if modules not in servers:
                servers[modules] = Server(modules, stack.enter_context(tempfile.TemporaryFile()))
                stack.callback(servers[modules].stop)
            return servers[modules].start(module, folder, errors)

        subprocesses.start = start
        try:
            yield
        finally:
            subprocesses.start = cold_start


def serve(requests: socket.socket, modules: list[str]) -> None:
    """Import modules, then carry out requests until there are no more of them."""
    for name in modules:
        importlib.import_module(name)
    while True:
        message, files, _, _ = socket.recv_fds(requests, LARGEST, 2)
        if not message:
            return
        if not os.fork():
            requests.close()
            leave(partial(keep, json.loads(message), *files))
        for file in files:
            os.close(file)
        with suppress(ChildProcessError):
            while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG):
                pass  # the keepers that have ended


def keep(request: list[Any], connection: int, errors: int) -> None:
    """Run a module in a fork; tell its number first, and then how it ended."""
    told = socket.socket(fileno=connection)
    pid = os.fork()
    if not pid:
        os.setsid()
        told.send(str(os.getpid()).encode())
        leave(partial(run, *request, errors))
    end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    code = end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
    told.send(str(code).encode())
    # Its number stays taken until the other side knows of its end, and stops it no more.
    told.recv(1)
    os.waitpid(pid, 0)


def run(module: str, folder: str, environment: dict[str, str], errors: int) -> None:
    """Run a module on a folder as `padaudit.subprocesses.start` would."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for file, place in ((nothing, 0), (nothing, 1), (errors, 2)):
        os.dup2(file, place)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    importlib.import_module(module).main(Path(folder))


def leave(action: Callable[[], None]) -> NoReturn:
    """End this process behind an action, as Python ends."""
    code = 1
    try:
        action()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
