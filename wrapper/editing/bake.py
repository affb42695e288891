"""Baking edits into an ordinary `transformers` folder, and removing them again.

The folder also has a delta file. For every changed tensor it holds the exclusive or of the integer
views before and after: with either one it gives the other, bit for bit, which a difference of
floats would not. It also holds digests of both, and of all other tensors, so that a folder changed
since is refused.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.errors import EditError, ModelError
from errata.cache.storage.atomic import write_atomically
from errata.editing.changes import WeightChange, WriteReport, applied

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.cache.records import Edit
    from errata.editing.changes import Change
    from errata.generation.base_model import GenerativeModel

DELTA = "errata-delta.safetensors"
"""Name of the delta file inside the folder."""

FORMAT = "errata delta 1"
_INTEGERS = {1: "uint8", 2: "int16", 4: "int32", 8: "int64"}


@dataclass(frozen=True, slots=True)
class Baked:
    """A baked model.

    :param folder: an ordinary `transformers` folder.
    :param edits: ids of the edits in its weights.
    :param tensors: names of the tensors that differ from the base model's.
    :param writes: the rounding of each change to the weights' dtype.
    """

    folder: Path
    edits: tuple[str, ...]
    tensors: tuple[str, ...]
    writes: tuple[WriteReport, ...]


def bake(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    changes: Sequence[Change],
    folder: str | Path,
    *,
    edits: Sequence[Edit] = (),
    backend: str = "",
) -> Baked:
    """Write a model with changes in its weights, its tokenizer, and the delta file.

    The model in memory is restored afterwards. The folder is written whole or not at all.

    :param model: the base model.
    :param tokenizer: its tokenizer.
    :param changes: of an editor's plan; all must be changes of weights.
    :param folder: must not exist, or be empty.
    :param edits: named in the delta file.
    :param backend: the editor's name, for the delta file.
    :raises EditError: the folder is not empty, or a change is not one of weights (modules, hooks),
        which an ordinary folder cannot hold.
    :raises ModelError: the changes were planned for another model.
    """
    target = _check_empty(folder)
    for change in changes:
        change.check(model)
        if not isinstance(change, WeightChange):
            raise EditError(
                f"{change.name}: expected changes of weights, found a {type(change).__name__}, "
                "which an ordinary model folder cannot hold; bake with another backend (rome, ft)"
            )
    names = _shared_names(model, [change.name for change in changes])
    before = {name: _state(model)[name].detach().clone() for name in names}
    with applied(model, changes) as writes:
        state = _state(model)
        deltas = {name: _xor(before[name], state[name]) for name in names}
        deltas = {name: delta for name, delta in deltas.items() if bool((delta != 0).any())}
        metadata = {
            "format": FORMAT,
            "backend": backend,
            "edits": json.dumps([_edit_note(edit) for edit in edits], ensure_ascii=False),
            "base": json.dumps({name: digest(before[name]) for name in deltas}),
            "edited": json.dumps({name: digest(state[name]) for name in deltas}),
            "rest": _unchanged_digest(state, deltas),
        }
        with _atomic_folder(target) as place:
            model.save_pretrained(place)
            tokenizer.save_pretrained(place)
            _save(place / DELTA, deltas, metadata)
    return Baked(target, tuple(edit.id for edit in edits), tuple(deltas), tuple(writes))


def unbake(
    model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, source: str | Path, out: str | Path
) -> tuple[str, ...]:
    """Remove baked edits: write the base model, bit for bit.

    :param model: the model loaded from the folder, in the dtype it is stored in; also becomes
        the base model in memory.
    :param tokenizer: its tokenizer.
    :param source: a folder that :func:`bake` wrote.
    :param out: must not exist, or be empty.
    :return: names of the tensors that were restored.
    :raises ModelError: the folder has no delta file, or its weights were changed since.
    :raises EditError: ``out`` is not empty.
    """
    import torch

    target = _check_empty(out)
    deltas, metadata = read_delta(source)
    state = _state(model)
    edited, base = json.loads(metadata["edited"]), json.loads(metadata["base"])
    changed = [n for n in deltas if n not in state or digest(state[n]) != edited[n]]
    if changed or _unchanged_digest(state, deltas) != metadata["rest"]:
        raise ModelError(
            f"{source}: expected in {changed[0] if changed else 'its tensors'!r} the weights that "
            "were baked, found others; they were changed after baking, so the edits cannot be "
            "removed: start again from the base model"
        )
    with torch.no_grad():
        # Compute all values before writing: two names may share memory (a tied head).
        values = {name: _apply(state[name], delta) for name, delta in deltas.items()}
        for name, value in values.items():
            state[name].copy_(value)
    wrong = [name for name in deltas if digest(_state(model)[name]) != base[name]]
    if wrong:
        raise ModelError(
            f"{source}: expected the base model's weights in {wrong}, found others; "
            f"{DELTA} is damaged: start again from the base model"
        )
    with _atomic_folder(target) as place:
        model.save_pretrained(place)
        tokenizer.save_pretrained(place)
    return tuple(deltas)


def read_delta(folder: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a delta file.

    :param folder: a folder that :func:`bake` wrote.
    :raises ModelError: there is none, or it is damaged.
    """
    from safetensors import safe_open

    path = Path(folder) / DELTA
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            if metadata.get("format") == FORMAT:
                return {name: file.get_tensor(name) for name in file.keys()}, metadata
        found = f"{metadata.get('format')!r}"
    except Exception as error:  # safetensors' error class is private
        found = str(error)
    raise ModelError(
        f"expected {FORMAT!r} in {path}, found {found}; name a folder that `errata bake` wrote"
    )


def digest(tensor: torch.Tensor) -> str:
    """Return the SHA-256 of a tensor's bits."""
    return hashlib.sha256(_bits(tensor).cpu().numpy().tobytes()).hexdigest()


def _unchanged_digest(state: Mapping[str, torch.Tensor], changed: Collection[str]) -> str:
    """Return one digest of all tensors except the changed ones."""
    lines = [f"{name} {digest(tensor)}" for name, tensor in state.items() if name not in changed]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _edit_note(edit: Edit) -> dict[str, Any]:
    return {"id": edit.id, "scope": edit.scope, "location": str(edit.location or "")}


def _state(model: GenerativeModel) -> Mapping[str, torch.Tensor]:
    state: Mapping[str, torch.Tensor] = model.state_dict()
    return state


def _shared_names(model: GenerativeModel, names: Sequence[str]) -> list[str]:
    """Return the names in the state_dict of tensors that share memory with parameters (tied heads).

    :param names: parameters.
    """
    memory = {model.get_parameter(name).data_ptr() for name in names}
    return [name for name, tensor in _state(model).items() if tensor.data_ptr() in memory]


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    kind = getattr(torch, _INTEGERS[tensor.element_size()])
    found: torch.Tensor = tensor.detach().contiguous().view(kind)
    return found


def _xor(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (_bits(one) ^ _bits(other)).cpu()


def _apply(tensor: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
    return (_bits(tensor) ^ delta.to(tensor.device)).view(tensor.dtype)


def _save(path: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str]) -> None:
    from safetensors.torch import save

    write_atomically(path, save({name: t.contiguous() for name, t in tensors.items()}, metadata))


def _check_empty(folder: str | Path) -> Path:
    target = Path(folder)
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise EditError(
            f"expected a new or empty folder at {target}, found one with files; nothing was "
            "written; name another one"
        )
    return target


class _atomic_folder:
    """A folder that is written under a temporary name and then renamed.

    :param target: a folder that does not exist, or is empty.
    """

    def __init__(self, target: Path) -> None:
        self.target = target

    def __enter__(self) -> Path:
        parent = self.target.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        self.place = Path(tempfile.mkdtemp(prefix=f".{self.target.name}.", dir=parent))
        return self.place

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            shutil.rmtree(self.place, ignore_errors=True)
            return
        self.place.chmod(0o755)
        if self.target.exists():
            self.target.rmdir()
        self.place.replace(self.target)
