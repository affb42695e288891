"""Uncentred covariance of the keys, C = E[k kᵀ]: the metric in which edits are kept small.

The keys of a layer are the inputs of its down-projection (:mod:`errata.module_paths`) over all
tokens of a text, start tokens included, padding excluded (Meng et al. 2022, ROME, equation 2 and
appendix). The model runs in its own dtype; products and sums are float64, since the smallest
eigenvalues decide, and float32 loses those below 1e-7 of the largest.

Text is read in parts until the metric has settled: until the condition number of C no longer falls
much with more tokens (:func:`settled_moments`). Too few tokens leave directions that C has never
seen, in which an edit costs nothing.

A matrix is stored under a digest of what it depends on: layer, text, and the weights up to the
layer's up-projection, except down-projections. Those are what editors change, and the second moment
of an edited model is meant to be that of the unedited one.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from errata.editors.shared.corpus import TextPart, TokenRows
from errata.editors.shared.layer_keys import batches_of, layer_keys
from errata.editors.shared.moment_files import FORMAT, moment_file, read_moments, write_moments
from errata.generation.fingerprint import base_fingerprint
from errata.module_paths import ModulePaths, matrix, module_paths_of

if TYPE_CHECKING:
    import torch

    from errata.generation.base_model import GenerativeModel

SECONDS_BETWEEN_SAVES = 60.0
SETTLED = 1.5
"""C has settled if half of the text gives a condition number at most this many times as large."""
POWER_STEPS = 50

_REMEMBERED = 8
_recent: OrderedDict[str, SecondMoment] = OrderedDict()
_settled: WeakKeyDictionary[GenerativeModel, dict[object, list[SecondMoment]]] = WeakKeyDictionary()


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

    def joined(self, other: SecondMoment) -> SecondMoment:
        """Return the second moment over the tokens of both."""
        tokens = self.tokens + other.tokens
        mean = (self.matrix * self.tokens + other.matrix * other.tokens) / tokens
        key = hashlib.sha256(f"{self.key} {other.key}".encode()).hexdigest()
        seconds = [each for each in (self.seconds, other.seconds) if each is not None]
        return SecondMoment(mean, tokens, key, sum(seconds) if seconds else None)

    def condition(self, ridge: float = 1e-6) -> float:
        """Return the condition number, λ_max / λ_min, by power iterations; both from below.

        :param ridge: as in :meth:`regularised`.
        """
        import torch

        whole = self.regularised(ridge)
        factor = torch.linalg.cholesky(whole)
        rng = torch.Generator().manual_seed(0)
        high = torch.randn(len(whole), 1, dtype=torch.float64, generator=rng)
        low = high.clone()
        for _ in range(POWER_STEPS):
            high = whole @ (high / high.norm())
            low = torch.cholesky_solve(low / low.norm(), factor)
        return float(high.norm() * low.norm())


def settled_moments(
    model: GenerativeModel,
    text: TokenRows,
    layers: Sequence[int],
    *,
    tokens_per_key: tuple[int, int],
    ridge: float,
    module_paths: ModulePaths | None = None,
    folder: str | Path | None = None,
    progress: bool = False,
) -> list[SecondMoment]:
    """Return the second moments of some layers, over as much text as they need.

    The text is read in parts, each as long as all before it, until the condition number of every
    matrix has settled (:data:`SETTLED`), or up to a limit.

    :param model: the model, with or without edits.
    :param text: read no further than needed.
    :param layers: from 0.
    :param tokens_per_key: tokens read at least and at most, times d_mlp.
    :param ridge: relative, as in :meth:`SecondMoment.regularised`.
    :param module_paths: as in :func:`second_moments`, like the parameters below.
    :return: one for each layer, in that order.
    """
    paths = module_paths_of(model, override=module_paths)
    size = matrix(model.get_submodule(paths.down(layers[0]))).shape[1]
    place = None if folder is None else str(folder)
    key = (base_fingerprint(model), text.key, tuple(layers), tokens_per_key, ridge, place)
    known = _settled.setdefault(model, {})
    if key not in known:
        first, limit = (size * each for each in tokens_per_key)
        found: list[SecondMoment] = []
        conditions: list[float] = []
        for part in text.parts(first // 2, limit):
            more = second_moments(
                model, part, layers, module_paths=module_paths, folder=folder, progress=progress
            )
            found = [a.joined(b) for a, b in zip(found, more, strict=True)] if found else more
            before, conditions = conditions, [each.condition(ridge) for each in found]
            if before and all(a <= SETTLED * b for a, b in zip(before, conditions, strict=True)):
                break
        known.clear()  # what an editor needs is the last; others are in files, or in _recent
        known[key] = found
    return known[key]


def second_moments(
    model: GenerativeModel,
    rows: TextPart | Sequence[Sequence[int]],
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

    :param model: the model.
    :param rows: ids of the text, or a part of a :class:`~errata.editors.shared.corpus.TokenRows`.
    :param layers: from 0.
    :param module_paths: for a model that is not in the table of :mod:`errata.module_paths`.
    :param folder: where matrices are stored; created if needed.
    :param progress: show a progress bar on stderr.
    :param save_every: seconds between saves of an unfinished pass.
    :return: one for each layer, in that order.
    :raises StoreError: a file in the folder is damaged.
    """
    paths = module_paths_of(model, override=module_paths)
    part = rows if isinstance(rows, TextPart) else TextPart.of(rows)
    keys = moment_keys(model, part, layers, paths)
    place = None if folder is None else Path(folder)
    found = {layer: _stored(key, place) for layer, key in keys.items()}
    missing = [layer for layer, moment in found.items() if moment is None]
    if missing:
        run = _Pass(model, part.rows(), paths, {layer: keys[layer] for layer in missing}, place)
        found.update(run.finish(progress, save_every))
    return [moment for layer in layers if (moment := found[layer]) is not None]


def moment_keys(
    model: GenerativeModel, part: TextPart, layers: Iterable[int], paths: ModulePaths
) -> dict[int, str]:
    """Return the digest of everything each layer's second moment depends on.

    :param model: its weights before the layer's down-projection enter the digest, except other
        down-projections.
    :param part: of the text.
    :param layers: from 0.
    :param paths: of its modules.
    """
    import torch

    prefixes = [f"{paths.block(layer)}." for layer in range(paths.layers)]
    downs = tuple(f"{paths.down(layer)}." for layer in range(paths.layers))
    outside, inside = hashlib.sha256(), [hashlib.sha256() for _ in prefixes]
    wanted = {layer: layer % paths.layers for layer in layers}
    outside.update(f"{FORMAT}\n{model.config.model_type}\n{model.config.to_json_string()}".encode())
    for name, parameter in model.named_parameters():
        if name.startswith(downs):
            continue
        layer = next((i for i, prefix in enumerate(prefixes) if name.startswith(prefix)), None)
        if layer is not None and layer > max(wanted.values()):
            continue
        digest = outside if layer is None else inside[layer]
        digest.update(f"{name} {parameter.dtype} {tuple(parameter.shape)}\n".encode())
        bits = parameter.detach().contiguous().reshape(-1).view(torch.uint8)
        digest.update(bits.cpu().numpy().tobytes())
    keys = {}
    for asked, layer in wanted.items():
        below = " ".join(each.hexdigest() for each in inside[: layer + 1])
        whole = f"{outside.hexdigest()} {below} {layer} {part.identity}"
        keys[asked] = hashlib.sha256(whole.encode()).hexdigest()
    return keys


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
        keys: Mapping[int, str],
        folder: Path | None,
    ) -> None:
        self.model, self.paths, self.keys, self.folder = model, paths, keys, folder
        self.batches = batches_of(rows)
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
                write_moments(moment_file(self.folder, key), tensors, metadata)
            _remember(means[layer])
        if self.partial is not None:
            self.partial.unlink(missing_ok=True)
        return means

    def _save(self) -> None:
        if self.partial is not None:
            sums = {str(layer): total for layer, total in self.sums.items()}
            write_moments(
                self.partial, sums, {"done": str(self.done), "seconds": str(self.seconds)}
            )

    def _resume(self) -> None:
        if self.partial is None or not self.partial.exists():
            return
        tensors, metadata = read_moments(self.partial)
        self.done, self.seconds = int(metadata["done"]), float(metadata.get("seconds", 0))
        self.sums = {int(layer): total for layer, total in tensors.items()}


def _stored(key: str, folder: Path | None) -> SecondMoment | None:
    if key in _recent:
        _recent.move_to_end(key)
        if folder is None or moment_file(folder, key).exists():
            return _recent[key]
    if folder is None or not moment_file(folder, key).exists():
        return None
    tensors, metadata = read_moments(moment_file(folder, key))
    seconds = float(metadata["seconds"]) if "seconds" in metadata else None
    moment = SecondMoment(tensors["matrix"], int(metadata["tokens"]), key, seconds)
    _remember(moment)
    return moment


def _remember(moment: SecondMoment) -> None:
    _recent[moment.key] = moment
    while len(_recent) > _REMEMBERED:
        _recent.popitem(last=False)
