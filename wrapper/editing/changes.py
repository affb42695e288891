"""Changes of a model, applied and undone in one place, exactly.

::

    changes = editor.plan(model, tokenizer, edits)
    with applied(model, changes) as writes:     # all are checked before the first write
        model.generate(...)                     # edited
    # every parameter, buffer, module and hook is restored bit for bit, also after an exception

Three kinds of change: :class:`WeightChange` adds to a parameter, :class:`ModuleChange` replaces a
module, :class:`HookChange` adds a forward hook. A weight is restored by ``copy_`` from a copy taken
before, never by subtraction (off by 1.8e-2 in bf16, measured) and never by rebinding ``.data`` (a
tied head would keep the edit).

``applied`` yields the rounding error of each write, since bf16 cannot represent a small update
(:class:`WriteReport`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from errata.cache.errors import EditError, ModelError
from errata.deprecation import old_attribute

if TYPE_CHECKING:
    import torch
    from torch import nn

WARNING_ERROR = 0.01
"""Relative error of a written update above which the caller is warned."""


@dataclass(frozen=True, slots=True)
class WriteReport:
    """The rounding of one planned update of a weight.

    :param name: the parameter.
    :param dtype: of the parameter.
    :param norm: Frobenius norm of the planned update.
    :param relative_error: norm of the written update minus the planned one, relative to ``norm``.
    """

    name: str
    dtype: str
    norm: float
    relative_error: float

    size = old_attribute("size", "norm")
    lost = old_attribute("lost", "relative_error")


@runtime_checkable
class Change(Protocol):
    """One change of a model; frozen, and planned for the weights at the time of planning."""

    @property
    def name(self) -> str:
        """The parameter or module that is changed."""

    def check(self, model: nn.Module) -> None:
        """Raise unless the change can be applied; nothing is written.

        :raises errata.cache.errors.ErrataError: the change does not fit the model.
        """

    def applied(self, model: nn.Module) -> AbstractContextManager[WriteReport | None]:
        """Apply the change on entering, undo it on leaving, exactly."""


@dataclass(frozen=True, slots=True, eq=False)
class WeightChange:
    """Adds to a parameter.

    :param name: the parameter, as in ``model.get_parameter``; either name of a tied one.
    :param delta: the update, in the parameter's shape and layout (see
        :func:`errata.module_paths.stored`), of any float dtype, finite; the sum is taken in the
        wider dtype of the two and rounded once.
    :param memory: what the editor has to know of it when it plans later edits, such as its keys.
    """

    name: str
    delta: torch.Tensor
    memory: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def check(self, model: nn.Module) -> None:
        """Raise unless the parameter exists, fits, is not quantised, and the delta is finite.

        :raises ModelError: no such parameter, or it is quantised.
        :raises EditError: another shape, or a delta that is not finite.
        """
        parameter = editable(model, self.name)
        if self.delta.shape != parameter.shape:
            raise EditError(
                f"{self.name}: expected an update of shape {list(parameter.shape)}, found "
                f"{list(self.delta.shape)}; use the parameter's layout (errata.module_paths.stored)"
            )
        if not self.delta.is_floating_point() or not bool(self.delta.isfinite().all()):
            raise EditError(
                f"{self.name}: expected a finite update, found infinite or missing values; nothing "
                "was changed; the editor's optimisation diverged, try a smaller learning rate"
            )
        if not bool(_sum(parameter, self.delta).isfinite().all()):
            raise EditError(
                f"{self.name}: expected weights that {parameter.dtype} can hold, found larger "
                "ones; nothing was changed; load the model with dtype=torch.float32"
            )

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[WriteReport]:
        """Add on entering, restore the bits on leaving."""
        parameter = editable(model, self.name)
        before = parameter.detach().clone()
        try:
            try:
                written = _sum(before, self.delta)
                _write(parameter, written)
                yield _report(self, before, written)
            finally:
                _write(parameter, before)
        finally:  # an interrupt may have fallen on the line above
            _write(parameter, before)


@dataclass(frozen=True, slots=True, eq=False)
class ModuleChange:
    """Replaces a module.

    :param name: the module, as in ``model.get_submodule``.
    :param wrap: takes the module and returns its replacement (which may hold the old one).
    """

    name: str
    wrap: Callable[[nn.Module], nn.Module]

    def check(self, model: nn.Module) -> None:
        """Raise unless the module exists and has a parent.

        :raises ModelError: no such module.
        """
        if not self.name:
            raise ModelError("expected the name of a module inside the model, found none")
        _module(model, self.name)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Replace on entering, restore the old module on leaving.

        :raises EditError: another module was found there on leaving (the old one is restored).
        """
        where, _, key = self.name.rpartition(".")
        siblings = _module(model, where)._modules
        before = _module(model, self.name)
        replacement = self.wrap(before)
        try:
            try:
                siblings[key] = replacement
                yield
                found = siblings.get(key)
            finally:
                siblings[key] = before
        finally:
            siblings[key] = before
        if found is not replacement:
            raise EditError(
                f"{self.name}: expected the module that the edit put there, found "
                f"{type(found).__name__}; the model is what it was before the edit"
            )


@dataclass(frozen=True, slots=True, eq=False)
class HookChange:
    """Adds a forward hook, and removes only its own handle.

    :param name: the module, as in ``model.get_submodule``.
    :param hook: ``hook(module, args, output)``; returns the new output, or None to keep it.
    """

    name: str
    hook: Callable[[nn.Module, Any, Any], Any]

    def check(self, model: nn.Module) -> None:
        """Raise unless the module exists.

        :raises ModelError: no such module.
        """
        _module(model, self.name)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Add the hook on entering, remove it on leaving."""
        module, handle = _module(model, self.name), None
        try:
            try:
                handle = module.register_forward_hook(self.hook)
                yield
            finally:
                if handle is not None:
                    handle.remove()
        finally:
            if handle is not None:
                handle.remove()


@contextmanager
def applied(model: nn.Module, changes: Sequence[Change]) -> Iterator[tuple[WriteReport, ...]]:
    """Apply changes in order on entering, undo them in reverse on leaving, also by exception.

    All are checked before the first is applied. Exclusion of other threads is done by
    :mod:`errata.editing.lock`.

    :param model: the model.
    :param changes: of an editor's plan.
    :return: yields a report for each weight written.
    :raises errata.cache.errors.ErrataError: a change does not fit; nothing was written.
    """
    for change in changes:
        change.check(model)
    undo = ExitStack()
    try:
        try:
            writes = [undo.enter_context(change.applied(model)) for change in changes]
            yield tuple(write for write in writes if write is not None)
        finally:
            undo.close()
    finally:  # an interrupt may have fallen on the line above; closing again is harmless
        undo.close()


def _write(parameter: torch.Tensor, values: torch.Tensor) -> None:
    # No torch.no_grad() here: an interrupt while it is left would leave gradients off for good.
    parameter.detach().copy_(values)


def _sum(parameter: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
    """Return the weight plus its update, rounded once to the parameter's dtype."""
    import torch

    wide = torch.promote_types(parameter.dtype, delta.dtype)
    # Some devices have no float64: the sum is taken where the update is.
    found = parameter.detach().to(delta.device, wide) + delta.detach().to(wide)
    return found.to(parameter.device, parameter.dtype)


def _report(change: WeightChange, before: torch.Tensor, written: torch.Tensor) -> WriteReport:
    import torch

    wide = torch.promote_types(change.delta.dtype, torch.float32)
    planned = change.delta.detach().to(wide)
    actual = written.to(planned.device, wide) - before.to(planned.device, wide)
    norm = float(planned.norm())
    error = float((actual - planned).norm()) / norm if norm else 0.0
    return WriteReport(change.name, str(before.dtype).removeprefix("torch."), norm, error)


def _module(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError as error:
        raise ModelError(
            f"expected a module {name!r} in {type(model).__name__}, found none; nothing was "
            "changed; the change was planned for another model"
        ) from error


def editable(model: nn.Module, name: str) -> nn.Parameter:
    """Return a parameter that can be edited; editors call this before they train.

    :param model: the model.
    :param name: of the parameter.
    :raises ModelError: no such parameter, or it is quantised, or not loaded.
    """
    import torch

    try:
        found = model.get_parameter(name)
    except AttributeError as error:
        raise ModelError(
            f"expected a parameter {name!r} in {type(model).__name__}, found none; nothing was "
            "changed; the change was planned for another model, or the weights are packed: load "
            "the model without quantization_config"
        ) from error
    plain = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    # Quantised weights are packed integers, 8-bit floats, or a subclass of Tensor.
    if found.dtype not in plain or type(found.data) is not torch.Tensor or found.is_meta:
        raise ModelError(
            f"{name}: expected a plain float16, bfloat16, float32 or float64 parameter, found "
            f"{type(found.data).__name__} of {found.dtype} on {found.device}; weights that are "
            "quantised or not loaded cannot be edited: load the model without quantization_config, "
            'or keep the edits in the cache (model.use("cache"))'
        )
    return found
