"""Uncentred covariance of the keys, C = E[k kᵀ]: the metric in which edits are kept small.

The keys of a layer are the inputs of its down-projection (:mod:`errata.module_paths`) over all
tokens of a corpus, start tokens included, padding excluded (Meng et al. 2022, ROME, equation 2 and
appendix). Sums are taken in float64.

A matrix is stored under a digest of everything it depends on: the weights up to the layer's
up-projection, the layer, and the tokens read. A matrix of another checkpoint, tokenizer or text is
never used by mistake, and a matrix stays valid while the layer's down-projection is edited.
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
    :param tokens: number of keys.
    :param key: digest of model, layer and tokens.
    :param seconds: wall time of the pass over the corpus, other layers included; None if unknown.
    """

    matrix: torch.Tensor
    tokens: int
    key: str
    seconds: float | None = None

    def regularised(self, ridge: float = 1e-6) -> torch.Tensor:
        """Return C + ridge · (tr C / d_mlp) · I, which is positive definite.

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
    module_paths: ModulePaths | None = None,
    folder: str | Path | None = None,
    progress: bool = False,
    save_every: float = SECONDS_BETWEEN_SAVES,
) -> list[SecondMoment]:
    """Return the second moments of some layers, computed in one pass unless stored.

    With a folder, finished matrices are stored there, and an interrupted pass resumes from its last
    save, with the same result bit for bit. Without one, the last few are kept in memory.

    :param model: the model, with no edits below these layers.
    :param rows: ids of the corpus, see :func:`errata.editors.shared.corpus.token_rows`.
    :param layers: from 0.
    :param module_paths: for a model that is not in the table of :mod:`errata.module_paths`.
    :param folder: where matrices are stored; created if needed.
    :param progress: show a progress bar on stderr.
    :param save_every: seconds between saves of an unfinished pass.
    :return: one for each layer, in that order.
    :raises StoreError: a file in the folder is damaged.
    """
    paths = module_paths_of(model, override=module_paths)
    keys = {layer: moment_key(model, rows, layer, paths) for layer in dict.fromkeys(layers)}
    place = None if folder is None else Path(folder)
    found = {layer: _stored(key, place) for layer, key in keys.items()}
    missing = [layer for layer, moment in found.items() if moment is None]
    if missing:
        run = _Pass(model, rows, paths, {layer: keys[layer] for layer in missing}, place)
        found.update(run.finish(progress, save_every))
    return [moment for layer in layers if (moment := found[layer]) is not None]


def moment_key(
    model: GenerativeModel, rows: Sequence[Sequence[int]], layer: int, paths: ModulePaths
) -> str:
    """Return the digest of everything a layer's second moment depends on.

    :param model: its weights before the layer's down-projection enter the digest.
    :param rows: ids of the corpus.
    :param layer: from 0.
    :param paths: of its modules.
    """
    import torch

    layer %= paths.layers
    digest = hashlib.sha256(f"{FORMAT}\n{model.config.model_type}\n{layer}\n".encode())
    digest.update(model.config.to_json_string().encode())
    later = [f"{paths.block(after)}." for after in range(layer + 1, paths.layers)]
    edited = f"{paths.down(layer)}."
    for name, parameter in model.named_parameters():
        if name.startswith(edited) or any(name.startswith(prefix) for prefix in later):
            continue
        digest.update(f"{name} {parameter.dtype} {tuple(parameter.shape)}\n".encode())
        bits = parameter.detach().contiguous().reshape(-1).view(torch.uint8)
        digest.update(bits.cpu().numpy().tobytes())
    for row in rows:
        digest.update(" ".join(map(str, row)).encode() + b"\n")
    return digest.hexdigest()


class _Pass:
    """One pass over the rows for several layers, saved at intervals.

    :param keys: digests of the layers to compute.
    :param folder: where to save; None keeps everything in memory.
    """

    def __init__(
        self,
        model: GenerativeModel,
        rows: Sequence[Sequence[int]],
        paths: ModulePaths,
        keys: dict[int, str],
        folder: Path | None,
    ) -> None:
        self.model, self.paths, self.keys, self.folder = model, paths, keys, folder
        self.batches = _batches(rows)
        whole = hashlib.sha256("".join(keys.values()).encode()).hexdigest()
        self.partial = None if folder is None else folder / f"{whole}.partial.safetensors"
        self.sums: dict[int, torch.Tensor] = {}
        self.done, self.seconds = 0, 0.0

    def finish(self, progress: bool, save_every: float) -> dict[int, SecondMoment]:
        """Read the remaining rows, and return the means."""
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
        for layer, keys in layer_keys(self.model, batch, list(self.keys), self.paths).items():
            found = keys.T @ keys
            self.sums[layer] = self.sums[layer] + found if layer in self.sums else found

    def _means(self) -> dict[int, SecondMoment]:
        tokens = sum(len(row) for batch in self.batches for row in batch)
        means = {}
        for layer, key in self.keys.items():
            means[layer] = SecondMoment(self.sums[layer] / tokens, tokens, key, self.seconds)
            if self.folder is not None:
                tensors = {"matrix": means[layer].matrix}
                metadata = {
                    "layer": str(layer),
                    "tokens": str(tokens),
                    "seconds": str(self.seconds),
                }
                _write(_file(self.folder, key), tensors, metadata)
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
        tensors, metadata = _read(self.partial)
        self.done, self.seconds = int(metadata["done"]), float(metadata.get("seconds", 0))
        self.sums = {int(layer): total for layer, total in tensors.items()}


def layer_keys(
    model: GenerativeModel, rows: Sequence[Sequence[int]], layers: Sequence[int], paths: ModulePaths
) -> dict[int, torch.Tensor]:
    """Return the keys of some layers at every token of some rows.

    :param model: the model; of an encoder-decoder, its encoder reads the rows.
    :param rows: ids.
    :param layers: from 0.
    :param paths: of its modules.
    :return: float64 [tokens in all, d_mlp] of each layer, on the CPU, in the order of the rows.
    """
    import torch

    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    ids = torch.zeros(mask.shape, dtype=torch.long)
    ids[mask] = torch.tensor([token for row in rows for token in row])
    found: dict[int, torch.Tensor] = {}
    last = max(layer % paths.layers for layer in layers)

    def keep(layer: int, inputs: tuple[Any, ...]) -> None:
        keys = inputs[0].detach().reshape(len(rows), -1, inputs[0].shape[-1])
        found[layer] = keys.cpu().double()[mask]
        if layer % paths.layers == last:
            raise _StopForward

    with _hooked(model, paths, layers, keep), torch.no_grad():
        stack = model.get_encoder() if model.config.is_encoder_decoder else model
        try:
            stack(input_ids=ids.to(model.device), attention_mask=mask.long().to(model.device))
        except _StopForward:
            pass
    return found


class _StopForward(Exception):
    """Ends the forward pass after the last layer that is needed."""


@contextmanager
def _hooked(
    model: GenerativeModel, paths: ModulePaths, layers: Sequence[int], keep: Any
) -> Iterator[None]:
    handles = []
    try:
        for layer in layers:
            down = model.get_submodule(paths.down(layer))
            handles.append(
                down.register_forward_pre_hook(lambda _, inputs, layer=layer: keep(layer, inputs))
            )
        yield
    finally:
        for handle in handles:
            handle.remove()


def _batches(rows: Sequence[Sequence[int]]) -> list[list[Sequence[int]]]:
    """Return the rows in order, in batches of at most TOKENS_PER_BATCH tokens with padding."""
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


def _stored(key: str, folder: Path | None) -> SecondMoment | None:
    if key in _recent:
        _recent.move_to_end(key)
        if folder is None or _file(folder, key).exists():
            return _recent[key]
    if folder is None or not _file(folder, key).exists():
        return None
    tensors, metadata = _read(_file(folder, key))
    seconds = float(metadata["seconds"]) if "seconds" in metadata else None
    moment = SecondMoment(tensors["matrix"], int(metadata["tokens"]), key, seconds)
    _remember(moment)
    return moment


def _remember(moment: SecondMoment) -> None:
    _recent[moment.key] = moment
    while len(_recent) > _REMEMBERED:
        _recent.popitem(last=False)


def _file(folder: Path, key: str) -> Path:
    return folder / f"{key}.safetensors"


def _write(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    from safetensors.torch import save

    path.parent.mkdir(parents=True, exist_ok=True)
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(contiguous, {"format": FORMAT, **metadata}))


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise StoreError(
                    f"expected {FORMAT!r} in {path}, found {metadata.get('format')!r}; "
                    "delete the file"
                )
            return {name: file.get_tensor(name) for name in file.keys()}, metadata
    except StoreError:
        raise
    except Exception as error:  # safetensors' own error class is private
        raise StoreError(
            f"expected the second moments of a layer in {path}, found: {error}; delete the file, "
            "it is computed again"
        ) from error
