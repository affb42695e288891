"""Edits baked into a model's weights for good, as an ordinary `transformers` folder; and taken out.

Beside the weights lies a delta file. It holds, for every tensor that was changed, the bits in which
the two differ (exclusive or of their integer views): taken together with either one it gives the
other back, bit for bit, which a difference of floats would not. It also holds digests of both, and
of all other tensors, so that nothing is taken out of a folder that was changed since.
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
from errata.editing.changes import ModuleChange, Write, applied

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
    """What was written.

    :param folder: an ordinary `transformers` folder.
    :param edits: ids of the edits in its weights.
    :param tensors: names of the tensors that differ from the base model's.
    :param writes: what the writing of each change lost to the weights' dtype.
    """

    folder: Path
    edits: tuple[str, ...]
    tensors: tuple[str, ...]
    writes: tuple[Write, ...]


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

    The model in memory is what it was afterwards. The folder appears whole or not at all.

    :param model: the base model.
    :param tokenizer: its tokenizer.
    :param changes: what an editor planned; all of them must be changes of weights.
    :param folder: must not exist, or be empty.
    :param edits: named in the delta file.
    :param backend: the editor's name, for the delta file.
    :raises EditError: the folder is not empty, or a change is none of weights (modules, hooks), so
        that an ordinary folder cannot hold it.
    :raises ModelError: the changes were planned for another model.
    """
    target = _free(folder)
    for change in changes:
        change.check(model)
        if isinstance(change, ModuleChange) or not hasattr(change, "delta"):
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
        note = {
            "format": FORMAT,
            "backend": backend,
            "edits": json.dumps([_told(edit) for edit in edits], ensure_ascii=False),
            "base": json.dumps({name: digest(before[name]) for name in deltas}),
            "edited": json.dumps({name: digest(state[name]) for name in deltas}),
            "rest": _rest(state, deltas),
        }
        with _appearing(target) as place:
            model.save_pretrained(place)
            tokenizer.save_pretrained(place)
            _save(place / DELTA, deltas, note)
    return Baked(target, tuple(edit.id for edit in edits), tuple(deltas), tuple(writes))


def unbake(
    model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, source: str | Path, out: str | Path
) -> tuple[str, ...]:
    """Take baked edits out again: write the base model, bit for bit.

    :param model: the model loaded from the folder, in the dtype it is stored in; becomes the base
        model in memory, too.
    :param tokenizer: its tokenizer.
    :param source: a folder that :func:`bake` wrote.
    :param out: must not exist, or be empty.
    :return: names of the tensors that were put back.
    :raises ModelError: the folder has no delta file, or its weights were changed since.
    :raises EditError: ``out`` is not empty.
    """
    import torch

    target = _free(out)
    deltas, note = read_delta(source)
    state = _state(model)
    edited, base = json.loads(note["edited"]), json.loads(note["base"])
    others = [n for n in deltas if n not in state or digest(state[n]) != edited[n]]
    if others or _rest(state, deltas) != note["rest"]:
        raise ModelError(
            f"{source}: expected in {others[0] if others else 'its tensors'!r} the weights that "
            "were baked, found others; they were changed after baking, so the edits cannot be "
            "taken out: start again from the base model"
        )
    with torch.no_grad():
        # All first, then the writing: two names may share one memory (a tied head).
        values = {name: _apply(state[name], delta) for name, delta in deltas.items()}
        for name, value in values.items():
            state[name].copy_(value)
    wrong = [name for name in deltas if digest(_state(model)[name]) != base[name]]
    if wrong:
        raise ModelError(
            f"{source}: expected the base model's weights in {wrong}, found others; "
            f"{DELTA} is damaged: start again from the base model"
        )
    with _appearing(target) as place:
        model.save_pretrained(place)
        tokenizer.save_pretrained(place)
    return tuple(deltas)


def read_delta(folder: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the tensors and the notes of a delta file.

    :param folder: a folder that :func:`bake` wrote.
    :raises ModelError: there is none, or it is damaged.
    """
    from safetensors import safe_open

    path = Path(folder) / DELTA
    try:
        with safe_open(path, framework="pt") as file:
            note = dict(file.metadata() or {})
            if note.get("format") == FORMAT:
                return {name: file.get_tensor(name) for name in file.keys()}, note
        found = f"{note.get('format')!r}"
    except Exception as error:  # safetensors' own error class is private
        found = str(error)
    raise ModelError(
        f"expected {FORMAT!r} in {path}, found {found}; name a folder that `errata bake` wrote"
    )


def digest(tensor: torch.Tensor) -> str:
    """Return the SHA-256 of a tensor's bits."""
    return hashlib.sha256(_bits(tensor).cpu().numpy().tobytes()).hexdigest()


def _rest(state: Mapping[str, torch.Tensor], changed: Collection[str]) -> str:
    """Return one digest of all tensors but those that were changed."""
    told = [f"{name} {digest(tensor)}" for name, tensor in state.items() if name not in changed]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def _told(edit: Edit) -> dict[str, Any]:
    return {"id": edit.id, "scope": edit.scope, "location": str(edit.location or "")}


def _state(model: GenerativeModel) -> Mapping[str, torch.Tensor]:
    state: Mapping[str, torch.Tensor] = model.state_dict()
    return state


def _shared_names(model: GenerativeModel, names: Sequence[str]) -> list[str]:
    """Return those names with all others of the same memory: a tied head, a tensor in state_dict.

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


def _save(path: Path, tensors: Mapping[str, torch.Tensor], note: dict[str, str]) -> None:
    from safetensors.torch import save

    write_atomically(path, save({name: t.contiguous() for name, t in tensors.items()}, note))


def _free(folder: str | Path) -> Path:
    target = Path(folder)
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise EditError(
            f"expected a new or empty folder at {target}, found one with files; nothing was "
            "written; name another one"
        )
    return target


class _appearing:
    """A folder that is written beside its place and then put there whole.

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
