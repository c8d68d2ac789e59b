"""Who does the work of a sweep: processes of this machine, or a Dask cluster."""

import importlib.util
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from lmu_kit.errors import InputError

__all__ = ["cores", "workers"]

AHEAD = 4
"""Tasks given out for each worker, so that none of them waits."""

CONNECT_S = 10.0
"""How long a cluster may take to answer."""


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _start() -> None:
    """Let the parent end a worker: by its own end, and not by the interrupt that both receive."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def workers(jobs: int, dask: str | None) -> Iterator[tuple[Executor, int]]:
    """Processes of this machine, or of a cluster.

    Parameters
    ----------
    jobs : int
        Processes of this machine.
    dask : str, optional
        Address of the scheduler of a Dask cluster, instead.

    Yields
    ------
    Executor, int
        What takes tasks, and how many to give it at a time.

    Raises
    ------
    InputError
        If there is no such cluster, or the workers were lost.
    """
    try:
        if dask is None:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(jobs, mp_context=context, initializer=_start) as pool:
                yield pool, AHEAD * jobs
        else:
            yield from _cluster(dask)
    except BrokenProcessPool:
        raise InputError("a worker process was killed; start again to go on where it was") from None
    except CancelledError:
        raise InputError(f"the Dask cluster at {dask} was lost; start again to go on where it was") from None


def _cluster(address: str) -> Iterator[tuple[Executor, int]]:
    if importlib.util.find_spec("distributed") is None:
        raise InputError("a Dask cluster needs Dask: pip install 'lmu-hw[dask]'")
    from distributed import Client  # an extra, and slow to import

    for name in ("distributed", "distributed.client", "tornado.application", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # errors that end the command are told in one line
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{address}: no Dask scheduler answers there ({error})") from None
    with client:
        # A task that is lost with its worker runs again under the same key, so its result comes once.
        yield client.get_executor(pure=False), AHEAD * max(1, sum(client.nthreads().values()))
