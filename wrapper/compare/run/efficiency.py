"""Wall time, CPU time and peak memory of a block, and the latency of a call."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_STATUS, _REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(slots=True)
class Cost:
    """Cost of a block of code.

    :param seconds: wall time.
    :param cpu_seconds: CPU time of the process, all threads together: other work on the machine
        does not lengthen it.
    :param load: processes that ran or waited to run, mean of the minute before the end; None where
        the system does not say.
    :param memory: peak bytes above those allocated at its beginning: of the accelerator where the
        model is on one, else of the process; None where the system does not say.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    load: float | None = None
    memory: int | None = None


@contextmanager
def measured(device: torch.device) -> Iterator[Cost]:
    """Measure the work inside the block.

    :param device: the model's.
    :return: filled in when the block ends.
    """
    cost = Cost()
    peak = _accelerator(device) if device.type == "cuda" else _process()
    began, cpu_began = time.perf_counter(), time.process_time()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - began
        cost.cpu_seconds = time.process_time() - cpu_began
        cost.load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
        cost.memory = peak()


def _accelerator(device: torch.device) -> Callable[[], int | None]:
    import torch

    torch.cuda.reset_peak_memory_stats(device)
    held = torch.cuda.memory_allocated(device)
    return lambda: torch.cuda.max_memory_allocated(device) - held


def _process() -> Callable[[], int | None]:
    """Return a function that reads the process's peak above now; only Linux can reset a peak."""
    try:
        _REFERENCES.write_text("5")
        held = _resident("VmRSS")
    except OSError:
        return _highest()

    def peak() -> int | None:
        return max(0, _resident("VmHWM") - held)

    return peak


def _resident(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {name} in {_STATUS}")


def _highest() -> Callable[[], int | None]:
    """Return a function that reads by how much the all-time peak grew: a lower bound."""
    if sys.platform == "win32":
        return lambda: None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return lambda: (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit


def milliseconds(
    work: Callable[[], object], repeats: int = 5, *, before: Callable[[], object] = lambda: None
) -> float:
    """Return the shortest wall time of a call, after one untimed warm-up.

    The shortest, since other load on the machine can only add to it.

    :param work: the call.
    :param repeats: timed runs.
    :param before: done before each of them, untimed.
    """
    work()
    times = []
    for _ in range(repeats):
        before()
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return 1000 * min(times)


def cpu_milliseconds(call: Callable[[], object]) -> float:
    """Return the CPU time of one call, all threads together; other processes do not lengthen it."""
    start = time.process_time()
    call()
    return round(1000 * (time.process_time() - start), 3)
