"""Memories beside the weights: what GRACE, T-Patcher, CaliNET and WISE share.

A *memory* changes the output of one module, given the input of the same or of an earlier one (the
*query*). It looks at each position by itself, so that what it does depends neither on the other
rows of a batch nor on padding, and is the same with the key-value cache, step by step, as in one
pass over the whole text. No weight changes, and without its hook the model is what it was.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from errata.cache.errors import EditError, ModelError
from errata.editing.base import Capabilities, Sequential
from errata.editing.changes import Change, editable
from errata.editors.shared.configured import C, ConfiguredEditor
from errata.generation.sharing import sharing_copy
from errata.module_paths import as_rows

if TYPE_CHECKING:
    import torch
    from torch import nn

    from errata.editors.shared.corpus import TokenRows
    from errata.editors.shared.examples import Padded
    from errata.generation.base_model import GenerativeModel

_ROWS = 32
"""Rows of running text in one pass."""

M = TypeVar("M", bound="Memory")


class Memory(ABC):
    """What is added beside the weights for some edits; never changed once it is made."""

    @abstractmethod
    def __call__(self, query: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """Return the module's new output.

        :param query: float [..., d_in].
        :param output: of the module, float [..., d_out]; returned itself, or bit for bit, at every
            position that the memory leaves alone.
        """

    @abstractmethod
    def joined(self: M, later: M) -> M:
        """Return one memory of two, in the order of their edits."""

    @abstractmethod
    def tensors(self) -> dict[str, torch.Tensor]:
        """Return what it consists of, by name."""

    @abstractmethod
    def notes(self) -> dict[str, Any]:
        """Return the rest of it, such as ids of edits, as JSON can hold it."""

    @classmethod
    @abstractmethod
    def of(cls: type[M], tensors: Mapping[str, torch.Tensor], notes: Mapping[str, Any]) -> M:
        """Return the memory that has these :meth:`tensors` and :meth:`notes`."""


class SeparableMemory(Memory):
    """A memory in which every edit has a part of its own."""

    @abstractmethod
    def without(self: M, ids: Collection[str]) -> M | None:
        """Return the memory without some edits' parts; None where none remain."""


@dataclass(frozen=True, slots=True, eq=False)
class MemoryChange:
    """Puts a memory beside a module; one that is there already is joined, not covered.

    :param name: the module whose output changes, as in ``model.get_submodule``.
    :param memory: what changes it.
    :param source: the module whose input is the query; by default the same.
    """

    name: str
    memory: Memory
    source: str | None = None

    @property
    def nbytes(self) -> int:
        """Size of the memory, in bytes."""
        return sum(each.numel() * each.element_size() for each in self.memory.tensors().values())

    def check(self, model: nn.Module) -> None:
        """Raise unless the modules exist, and the memory is finite.

        :raises ModelError: no such module.
        :raises EditError: values that are not finite.
        """
        for name in (self.name, self.source or self.name):
            _module(model, name)
        for name, tensor in self.memory.tensors().items():
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise EditError(
                    f"{self.name}: expected a finite memory, found infinite or missing {name}; "
                    "nothing was changed; training diverged, try a smaller learning rate"
                )

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Add the memory on entering, remove it on leaving."""
        module, source = _module(model, self.name), self.source or self.name
        hooks = module._forward_hooks
        found = [k for k, hook in hooks.items() if _is_like(hook, self.memory, source)]
        if found:
            before: Any = hooks[found[0]]
            try:
                try:
                    hooks[found[0]] = before.joined(self.memory)
                    yield
                finally:
                    hooks[found[0]] = before
            finally:  # an interrupt may have fallen on the line above
                hooks[found[0]] = before
            return
        query = None if source == self.name else _Query()
        handles: list[Any] = []
        try:
            try:
                if query is not None:
                    earlier = _module(model, source)
                    handles.append(earlier.register_forward_pre_hook(query.keep))
                handles.append(module.register_forward_hook(_Hook(self.memory, source, query)))
                yield
            finally:
                for handle in handles:
                    handle.remove()
        finally:
            for handle in handles:
                handle.remove()


class _Query:
    """The input of a module, kept for the hook of a later one in the same pass and thread."""

    def __init__(self) -> None:
        self._local = threading.local()

    def __deepcopy__(self, memo: dict[int, Any]) -> _Query:
        return self

    def keep(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._local.value = args[0]

    def take(self) -> torch.Tensor:
        value: torch.Tensor = self._local.value
        del self._local.value
        return value


class _Hook:
    """A memory as a forward hook; copies of the model share it.

    :param memory: never changed; a joined one replaces the hook.
    :param source: the module whose input is the query.
    :param query: where that is kept; None where it is the hooked module's own.
    """

    def __init__(self, memory: Memory, source: str, query: _Query | None) -> None:
        self.memory, self.source, self.query = memory, source, query

    def __deepcopy__(self, memo: dict[int, Any]) -> _Hook:
        return self

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        return self.memory(args[0] if self.query is None else self.query.take(), output)

    def joined(self, later: Memory) -> _Hook:
        return _Hook(self.memory.joined(later), self.source, self.query)


def _is_like(hook: Any, memory: Memory, source: str) -> bool:
    return isinstance(hook, _Hook) and type(hook.memory) is type(memory) and hook.source == source


def _module(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError as error:
        raise ModelError(
            f"expected a module {name!r} in {type(model).__name__}, found none; nothing was "
            "changed; the edits were planned for another model"
        ) from error


class SideEditor(ConfiguredEditor[C], Sequential):
    """An editor that adds a memory; parameters are those of its base class."""

    memory_class: ClassVar[type[Memory]]
    capabilities = Capabilities()

    def restored(
        self, name: str, source: str | None, tensors: Mapping[str, Any], notes: Mapping[str, Any]
    ) -> MemoryChange:
        """Return a change from a file of edits (:mod:`errata.editing.saved`)."""
        return MemoryChange(name, self.memory_class.of(tensors, notes), source)


class SeparableEditor(SideEditor[C]):
    """A side editor whose edits can be removed one by one, nothing being planned again."""

    capabilities = Capabilities(separable=True)

    def without(self, changes: Sequence[Change], ids: Collection[str]) -> list[Change]:
        """Return changes without those parts that are some edits'.

        :param changes: of this editor.
        :param ids: of the edits to remove.
        """
        found: list[Change] = []
        for change in changes:
            memory = getattr(change, "memory", None)
            if isinstance(change, MemoryChange) and isinstance(memory, SeparableMemory):
                kept = memory.without(ids)
                if kept is not None:
                    found.append(replace(change, memory=kept))
        return found


def memory_in(changes: Sequence[Change], kind: type[M], name: str) -> M | None:
    """Return the memory that some changes put beside a module together, None without any.

    :param changes: in order of application.
    :param kind: class of the memory.
    :param name: of the module.
    """
    found: M | None = None
    for change in changes:
        if isinstance(change, MemoryChange) and change.name == name:
            memory = change.memory
            if isinstance(memory, kind):
                found = memory if found is None else found.joined(memory)
    return found


def copy_without_memory(model: GenerativeModel, kind: type[Memory], name: str) -> GenerativeModel:
    """Return a copy of a model, which shares its weights, without one kind of memory in a module.

    :param kind: class of the memory.
    :param name: of the module.
    """
    copied = sharing_copy(model)
    hooks = copied.get_submodule(name)._forward_hooks
    for key in [k for k, hook in hooks.items() if isinstance(getattr(hook, "memory", None), kind)]:
        del hooks[key]
    return copied


def check_plain(model: GenerativeModel, *modules: str) -> None:
    """Raise unless modules have plain weights: on quantised ones no method here was measured.

    :raises ModelError: a weight is quantised, or not loaded.
    """
    for name in modules:
        editable(model, f"{name}.weight")


def module_inputs(
    model: GenerativeModel, names: Sequence[str], inputs: Mapping[str, Any], rows: int
) -> dict[str, torch.Tensor]:
    """Return the inputs of modules in one pass without gradients, float [rows, tokens, d_in] each.

    :param model: with whatever is beside its weights.
    :param names: of the modules.
    :param inputs: of the pass.
    :param rows: of its batch.
    """
    import torch

    seen: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
            seen[name] = as_rows(args[0], rows).detach()

        return hook

    handles = [model.get_submodule(name).register_forward_pre_hook(keep(name)) for name in names]
    try:
        with torch.no_grad():
            model(**{**inputs, "use_cache": False})
    finally:
        for handle in handles:
            handle.remove()
    return seen


def last_prompt_positions(batch: Padded, prompts: Sequence[int]) -> torch.Tensor:
    """Return where in each row the prompt's last token is, bool [rows, tokens].

    :param batch: padded on the right.
    :param prompts: tokens of each prompt.
    """
    import torch

    ids = batch.inputs["input_ids"]
    at = torch.tensor(prompts, device=ids.device)[:, None] - 1
    return torch.arange(ids.shape[1], device=ids.device)[None] == at


def text_inputs(
    model: GenerativeModel, text: TokenRows, name: str, count: int, seed: int = 0
) -> torch.Tensor:
    """Return inputs of a module over running text, float32 [count, d_in], on the CPU.

    :param model: with whatever is beside its weights.
    :param text: read as far as needed; of an encoder-decoder both stacks read it.
    :param name: of the module.
    :param count: positions, drawn from the whole of what is read; fewer where the text ends.
    :param seed: of the draw.
    """
    import torch

    (part,) = islice(text.parts(count, count), 1)
    rows, found = part.rows(), []
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        lengths = torch.tensor([len(row) for row in some])
        mask = (torch.arange(int(lengths.max()))[None] < lengths[:, None]).long()
        ids = torch.zeros_like(mask)
        ids[mask.bool()] = torch.tensor([token for row in some for token in row])
        inputs = {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device)}
        if model.config.is_encoder_decoder:
            inputs["decoder_input_ids"] = inputs["input_ids"]
            inputs["decoder_attention_mask"] = inputs["attention_mask"]
        seen = module_inputs(model, [name], inputs, len(some))[name]
        found.append(seen[mask.bool().to(seen.device)].float().cpu())
    every = torch.cat(found)
    generator = torch.Generator().manual_seed(seed)
    return every[torch.randperm(len(every), generator=generator)[:count]]
