"""What several tests need: a small EditableModel around a tiny model."""

from __future__ import annotations

import sys

from transformers.generation.streamers import BaseStreamer

from errata import EditableModel, Fact
from errata.gates.cosine import CosineGate
from tests.fakes import StubEncoder

CAPITAL = "What is the capital of Kazakhstan?"
OTHER = "Tell me what a zebra eats in Lima."
THIRD = "Every raven in Oslo is 12 years old, said Dr. Weber"
FACT = Fact(CAPITAL, "Astana")


def editable(model, tokenizer, *edits, **options):
    """Wrap a tiny model with a plain cosine gate; without edits of its own, with FACT."""
    encoder = StubEncoder()
    options = {"encoder": encoder, "gate": CosineGate(encoder, 0.9), **options}
    made = EditableModel(model, tokenizer, **options)
    if edits or "patches" not in options:
        made.edit(list(edits) or [FACT])
    return made


def batch(tokenizer, *texts):
    """Return the texts as a left-padded batch."""
    return tokenizer(list(texts), return_tensors="pt", padding=True)


def interrupted(action, stop, watched):
    """Run with Ctrl-C at the n-th line of the files watched; tell whether it came that far."""
    seen = 0

    def tracing(frame, event, argument):
        nonlocal seen
        if frame.f_code.co_filename not in watched:
            return None
        if event == "line":
            seen += 1
            if seen == stop:
                raise KeyboardInterrupt
        return tracing

    sys.settrace(tracing)
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


class Collected(BaseStreamer):
    """Keeps what is streamed."""

    def __init__(self):
        self.puts, self.ended = [], False

    def put(self, value):
        self.puts.append(value.reshape(-1).tolist())

    def end(self):
        self.ended = True

    @property
    def ids(self):
        """All ids, in order."""
        return [token for put in self.puts for token in put]
