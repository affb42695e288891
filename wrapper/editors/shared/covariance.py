"""Second moments of the keys: C = E[k kᵀ], what editors mean by "as little as possible".

The keys of a layer are the inputs of its down-projection (:mod:`errata.module_paths`) over all tokens of
running text, start tokens included, padding not; the mean is not centred (Meng et al. 2022, ROME,
equation 2 and appendix). Sums are taken in float64.

A matrix is known by a digest of all it depends on: the weights up to the layer's up-projection,
the layer, and the very tokens read. So a matrix of another checkpoint, tokenizer or text is never
used by mistake, and one stays valid while the layer's own down-projection is being edited.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.errors import StoreError
from errata.cache.storage.atomic import write_atomically
from errata.module_paths import ModulePaths, module_paths_of

if TYPE_CHECKING:
    import torch

    from errata.generation.base_model import GenerativeModel

FORMAT = "errata second moments 1"
TOKENS_PER_BATCH = 4096
SECONDS_BETWEEN_SAVES = 60.0

_REMEMBERED = 8
_recent: OrderedDict[str, SecondMoment] = OrderedDict()


@dataclass(frozen=True, slots=True, eq=False)
class SecondMoment:
    """The mean of k kᵀ of one layer.

    :param matrix: float64 [d_mlp, d_mlp], on the CPU, symmetric.
    :param tokens: how many keys it is the mean of.
    :param key: digest of model, layer and tokens.
    :param seconds: wall time of the pass that it comes from, other layers' included; None if it is
        not known.
    """

    matrix: torch.Tensor
    tokens: int
    key: str
    seconds: float | None = None

    def regularised(self, ridge: float = 1e-6) -> torch.Tensor:
        """Return C + ridge · (tr C / d_mlp) · I, which can be solved with whatever was read.

        :param ridge: relative to the mean of the diagonal.
        """
        import torch

        size = len(self.matrix)
        scale = ridge * float(self.matrix.trace()) / size
        return self.matrix + scale * torch.eye(size, dtype=torch.float64)


def second_moments(
    model: GenerativeModel,
    rows: Sequence[Sequence[int]],
    layers: Sequence[int],
    *,
    sites: ModulePaths | None = None,
    folder: str | Path | None = None,
    progress: bool = False,
    save_every: float = SECONDS_BETWEEN_SAVES,
) -> list[SecondMoment]:
    """Return the second moments of some layers, computed in one pass if they are not known yet.

    With a folder, finished matrices are kept there, and a run that was interrupted goes on where
    it last saved, to the very same result. Without one, the last few are kept in memory.

    :param model: the model, with no edits below these layers.
    :param rows: ids of running text, see :func:`errata.editors.shared.corpus.token_rows`.
    :param layers: from 0.
    :param sites: for a model that is not in the table of :mod:`errata.module_paths`.
    :param folder: where matrices are kept; made if needed.
    :param progress: show a progress bar on stderr.
    :param save_every: seconds between saves of an unfinished run.
    :return: one for each layer, in that order.
    :raises StoreError: a file in the folder is damaged.
    """
    where = module_paths_of(model, sites=sites)
    keys = {layer: moment_key(model, rows, layer, where) for layer in dict.fromkeys(layers)}
    place = None if folder is None else Path(folder)
    found = {layer: _known(key, place) for layer, key in keys.items()}
    missing = [layer for layer, moment in found.items() if moment is None]
    if missing:
        run = _Run(model, rows, where, {layer: keys[layer] for layer in missing}, place)
        found.update(run.finish(progress, save_every))
    return [moment for layer in layers if (moment := found[layer]) is not None]


def moment_key(
    model: GenerativeModel, rows: Sequence[Sequence[int]], layer: int, sites: ModulePaths
) -> str:
    """Return the digest of all that a layer's second moment depends on.

    :param model: of its weights, those that come before the layer's down-projection.
    :param rows: ids of running text.
    :param layer: from 0.
    :param sites: where the parts of the model are.
    """
    import torch

    layer %= sites.layers
    digest = hashlib.sha256(f"{FORMAT}\n{model.config.model_type}\n{layer}\n".encode())
    digest.update(model.config.to_json_string().encode())
    later = [f"{sites.block(after)}." for after in range(layer + 1, sites.layers)]
    own = f"{sites.down(layer)}."
    for name, parameter in model.named_parameters():
        if name.startswith(own) or any(name.startswith(prefix) for prefix in later):
            continue
        digest.update(f"{name} {parameter.dtype} {tuple(parameter.shape)}\n".encode())
        plain = parameter.detach().contiguous().reshape(-1).view(torch.uint8)
        digest.update(plain.cpu().numpy().tobytes())
    for row in rows:
        digest.update(" ".join(map(str, row)).encode() + b"\n")
    return digest.hexdigest()


class _Run:
    """One pass over the rows for several layers, saved now and then.

    :param keys: digest of each layer that is missing.
    :param folder: where to save, None to keep all in memory.
    """

    def __init__(
        self,
        model: GenerativeModel,
        rows: Sequence[Sequence[int]],
        sites: ModulePaths,
        keys: dict[int, str],
        folder: Path | None,
    ) -> None:
        self.model, self.sites, self.keys, self.folder = model, sites, keys, folder
        self.batches = _batches(rows)
        whole = hashlib.sha256("".join(keys.values()).encode()).hexdigest()
        self.partial = None if folder is None else folder / f"{whole}.partial.safetensors"
        self.sums: dict[int, torch.Tensor] = {}
        self.done, self.seconds = 0, 0.0

    def finish(self, progress: bool, save_every: float) -> dict[int, SecondMoment]:
        """Read what is left, and return the means."""
        from rich.console import Console
        from rich.progress import Progress

        self._resume()
        with Progress(console=Console(stderr=True), transient=True, disable=not progress) as shown:
            task = shown.add_task("second moments", total=len(self.batches), completed=self.done)
            saved = time.monotonic()
            for batch in self.batches[self.done :]:
                began = time.monotonic()
                self._add(batch)
                self.done, self.seconds = self.done + 1, self.seconds + time.monotonic() - began
                shown.advance(task)
                if time.monotonic() - saved >= save_every:
                    self._save()
                    saved = time.monotonic()
        return self._means()

    def _add(self, batch: Sequence[Sequence[int]]) -> None:
        """Add the keys of a batch to the sums."""
        for layer, keys in layer_keys(self.model, batch, list(self.keys), self.sites).items():
            found = keys.T @ keys
            self.sums[layer] = self.sums[layer] + found if layer in self.sums else found

    def _means(self) -> dict[int, SecondMoment]:
        tokens = sum(len(row) for batch in self.batches for row in batch)
        means = {}
        for layer, key in self.keys.items():
            means[layer] = SecondMoment(self.sums[layer] / tokens, tokens, key, self.seconds)
            if self.folder is not None:
                tensors = {"matrix": means[layer].matrix}
                note = {"layer": str(layer), "tokens": str(tokens), "seconds": str(self.seconds)}
                _write(_file(self.folder, key), tensors, note)
            _remember(means[layer])
        if self.partial is not None:
            self.partial.unlink(missing_ok=True)
        return means

    def _save(self) -> None:
        if self.partial is not None:
            sums = {str(layer): total for layer, total in self.sums.items()}
            _write(self.partial, sums, {"done": str(self.done), "seconds": str(self.seconds)})

    def _resume(self) -> None:
        if self.partial is None or not self.partial.exists():
            return
        tensors, note = _read(self.partial)
        self.done, self.seconds = int(note["done"]), float(note.get("seconds", 0))
        self.sums = {int(layer): total for layer, total in tensors.items()}


def layer_keys(
    model: GenerativeModel, rows: Sequence[Sequence[int]], layers: Sequence[int], sites: ModulePaths
) -> dict[int, torch.Tensor]:
    """Return the keys of some layers at every token of some rows.

    :param model: the model; of an encoder-decoder, its encoder reads the rows.
    :param rows: ids.
    :param layers: from 0.
    :param sites: where the parts of the model are.
    :return: float64 [tokens in all, d_mlp] of each layer, on the CPU, in the order of the rows.
    """
    import torch

    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    ids = torch.zeros(mask.shape, dtype=torch.long)
    ids[mask] = torch.tensor([token for row in rows for token in row])
    found: dict[int, torch.Tensor] = {}
    last = max(layer % sites.layers for layer in layers)

    def keep(layer: int, inputs: tuple[Any, ...]) -> None:
        keys = inputs[0].detach().reshape(len(rows), -1, inputs[0].shape[-1])
        found[layer] = keys.cpu().double()[mask]
        if layer % sites.layers == last:
            raise _Enough

    with _hooked(model, sites, layers, keep), torch.no_grad():
        stack = model.get_encoder() if model.config.is_encoder_decoder else model
        try:
            stack(input_ids=ids.to(model.device), attention_mask=mask.long().to(model.device))
        except _Enough:
            pass
    return found


class _Enough(Exception):
    """Leaves the forward pass behind the last layer that is needed."""


@contextmanager
def _hooked(
    model: GenerativeModel, sites: ModulePaths, layers: Sequence[int], keep: Any
) -> Iterator[None]:
    handles = []
    try:
        for layer in layers:
            down = model.get_submodule(sites.down(layer))
            handles.append(
                down.register_forward_pre_hook(lambda _, inputs, layer=layer: keep(layer, inputs))
            )
        yield
    finally:
        for handle in handles:
            handle.remove()


def _batches(rows: Sequence[Sequence[int]]) -> list[list[Sequence[int]]]:
    """Return the rows in order, as batches of about as many tokens each, padding counted."""
    batches: list[list[Sequence[int]]] = []
    width = 0
    for row in rows:
        if not row:
            continue
        wider = max(width, len(row))
        if batches and wider * (len(batches[-1]) + 1) <= TOKENS_PER_BATCH:
            batches[-1].append(row)
            width = wider
        else:
            batches.append([row])
            width = len(row)
    return batches


def _known(key: str, folder: Path | None) -> SecondMoment | None:
    if key in _recent:
        _recent.move_to_end(key)
        if folder is None or _file(folder, key).exists():
            return _recent[key]
    if folder is None or not _file(folder, key).exists():
        return None
    tensors, note = _read(_file(folder, key))
    seconds = float(note["seconds"]) if "seconds" in note else None
    moment = SecondMoment(tensors["matrix"], int(note["tokens"]), key, seconds)
    _remember(moment)
    return moment


def _remember(moment: SecondMoment) -> None:
    _recent[moment.key] = moment
    while len(_recent) > _REMEMBERED:
        _recent.popitem(last=False)


def _file(folder: Path, key: str) -> Path:
    return folder / f"{key}.safetensors"


def _write(path: Path, tensors: dict[str, torch.Tensor], note: dict[str, str]) -> None:
    from safetensors.torch import save

    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(plain, {"format": FORMAT, **note}))


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            note = file.metadata() or {}
            if note.get("format") != FORMAT:
                raise StoreError(
                    f"expected {FORMAT!r} in {path}, found {note.get('format')!r}; delete the file"
                )
            return {name: file.get_tensor(name) for name in file.keys()}, note
    except StoreError:
        raise
    except Exception as error:  # safetensors' own error class is private
        raise StoreError(
            f"expected the second moments of a layer in {path}, found: {error}; delete the file, "
            "it is computed again"
        ) from error
