"""Edits of weights in a file of their own, for any copy of the base model they were planned for.

::

    with model.using("memit", edits=facts):
        model.save_edits("edits.safetensors")
    saved = SavedEdits("edits.safetensors")
    with other.using(saved, edits=saved.edits):     # nothing is planned again
        ...

The file holds the planned updates, what the editor has to know of them for later edits, the edits
themselves, and digests of the tensors before, so that another model is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from errata.cache.errors import EditError, ModelError
from errata.cache.patches.kinds import dump_edit, parse_edit
from errata.cache.records import Edit
from errata.cache.storage.atomic import write_atomically
from errata.editing.bake import digest
from errata.editing.base import Capabilities
from errata.editing.changes import Change, WeightChange
from errata.registry import make

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

FORMAT = "errata edits 1"


@runtime_checkable
class MemoryBeside(Protocol):
    """A change that puts a memory beside a module; its editor's ``restored`` makes it again."""

    @property
    def name(self) -> str:
        """The module."""

    @property
    def source(self) -> str | None:
        """The module that the memory reads; None for the same."""

    @property
    def memory(self) -> Any:
        """What has ``tensors()`` and ``notes()``."""


def save_changes(
    path: str | Path,
    model: GenerativeModel,
    changes: Sequence[Change],
    edits: Sequence[Edit],
    backend: str = "",
) -> None:
    """Write changes of weights, and the edits they make.

    :param path: the file to write; replaced whole or not at all.
    :param model: the base model, with none of the changes in its weights.
    :param changes: of an editor's plan, in order.
    :param edits: what they make.
    :param backend: the editor's name.
    :raises EditError: a change is neither one of weights nor a memory beside them.
    """
    from safetensors.torch import save

    tensors: dict[str, torch.Tensor] = {}
    beside: dict[str, dict[str, Any]] = {}
    for number, change in enumerate(changes):
        if isinstance(change, MemoryBeside) and not isinstance(change, WeightChange):
            beside[str(number)] = {"source": change.source, "notes": change.memory.notes()}
            found = change.memory.tensors()
            tensors |= {f"{number}.beside.{key}": value for key, value in found.items()}
            continue
        if not isinstance(change, WeightChange):
            raise EditError(
                f"{change.name}: expected changes of weights, found a {type(change).__name__}, "
                "which cannot be saved; use another backend (memit, ft)"
            )
        tensors[f"{number}.delta"] = change.delta
        tensors |= {f"{number}.memory.{key}": value for key, value in change.memory.items()}
    names = [change.name for change in changes]
    metadata = {
        "format": FORMAT,
        "backend": backend,
        "edits": json.dumps(
            [{**dump_edit(edit), "id": edit.id} for edit in edits], ensure_ascii=False
        ),
        "names": json.dumps(names),
        "base": json.dumps({name: digest(_weight(model, name)) for name in names}),
        "beside": json.dumps(beside),
    }
    # cloned: statistics may be shared, and safetensors wants each tensor in memory of its own
    contiguous = {name: each.detach().cpu().clone().contiguous() for name, each in tensors.items()}
    write_atomically(Path(path), save(contiguous, metadata))


class SavedEdits:
    """An editor that plans nothing: its changes are those of a file.

    :param path: of a file that :func:`save_changes` wrote.
    :ivar edits: the edits that the file makes, all together.
    :ivar backend: the editor that planned them.
    :raises ModelError: there is no such file, or it is damaged.
    """

    name = "saved"
    capabilities = Capabilities(together=True)

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        tensors, metadata = _read(self.path)
        self.backend = metadata["backend"]
        self.edits = tuple(parse_edit(body) for body in json.loads(metadata["edits"]))
        self._base: Mapping[str, str] = json.loads(metadata["base"])
        self._changes: list[Change] = []
        beside = json.loads(metadata.get("beside", "{}"))
        for number, name in enumerate(json.loads(metadata["names"])):
            if (stored := beside.get(str(number))) is not None:
                editor = make("errata.editors", self.backend)
                found = _starting(tensors, f"{number}.beside.")
                self._changes.append(
                    editor.restored(name, stored["source"], found, stored["notes"])
                )
                continue
            memory = _starting(tensors, f"{number}.memory.")
            self._changes.append(WeightChange(name, tensors[f"{number}.delta"], memory))

    def supports(self, edit: Edit) -> bool:
        """Return whether an edit is one of those in the file."""
        return edit.id in {each.id for each in self.edits}

    def plan(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
    ) -> list[Change]:
        """Return the changes of the file.

        :raises EditError: the edits are not all those in the file: they cannot be told apart.
        :raises ModelError: the model is not a copy of the one they were planned for.
        """
        if {edit.id for edit in edits} != {edit.id for edit in self.edits}:
            raise EditError(
                f"{self.path}: expected all of its {len(self.edits)} edits, found {len(edits)}; "
                "updates planned together cannot be separated: pass edits=saved.edits"
            )
        for change in self._changes:
            change.check(model)
            if digest(_weight(model, change.name)) != self._base[change.name]:
                raise ModelError(
                    f"{self.path}: expected in {change.name!r} the weights of the base model that "
                    "the edits were planned for, found others; load that model, in the same dtype "
                    "and without other edits"
                )
        return list(self._changes)


def _weight(model: GenerativeModel, name: str) -> torch.Tensor:
    """Return a parameter, or the weight of a module."""
    is_parameter = name.endswith((".weight", ".bias"))
    return model.get_parameter(name if is_parameter else f"{name}.weight")


def _starting(tensors: Mapping[str, Any], start: str) -> dict[str, Any]:
    """Return the tensors whose names begin so, without it."""
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            if metadata.get("format") == FORMAT:
                return {name: file.get_tensor(name) for name in file.keys()}, metadata
        found = repr(metadata.get("format"))
    except Exception as error:  # safetensors' error class is private
        found = str(error)
    raise ModelError(
        f"expected {FORMAT!r} in {path}, found {found}; name a file that save_edits wrote"
    )
