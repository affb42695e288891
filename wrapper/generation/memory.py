"""How much memory a piece of work takes at its peak, as torch counts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """Do the work and return how many bytes of tensors it held at most, beyond those there before.

    The memory of the process would also count what the allocator kept of earlier work.

    :param work: what is measured; it is done once.
    :param device: where it runs; anything but CUDA is counted as memory of the CPU.
    """
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return int(torch.cuda.max_memory_allocated(device)) - int(before)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profiled:
        work()
    results: Any = getattr(profiled.profiler, "kineto_results", None)
    events = [e for e in results.events() if e.name() == "[memory]"]
    held = highest = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    return highest
