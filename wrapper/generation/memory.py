"""Peak memory of a function, as torch counts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """Return the peak of the bytes of tensors that a function allocates.

    The memory of the process would include what the allocator caches from before.

    :param work: called once.
    :param device: where it runs; for any device but CUDA, CPU memory is counted.
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
