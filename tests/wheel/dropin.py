"""A program that had ``base.generate(...)`` and now has ``EditableModel(base, ...).generate(...)``.

Run by ``smoke.py`` in an environment that has the wheel and nothing else of ours.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from errata import EditableModel, load_atlas

question, right = sys.argv[1:]
checkout = Path(__file__).resolve().parents[2]
if checkout in Path(sys.modules["errata"].__file__ or "").resolve().parents:
    sys.exit("this is the checkout's errata, not the wheel's")

base, tokenizer = load_atlas()
spec = importlib.util.find_spec("errata.patches")
if spec is None or not spec.submodule_search_locations:
    sys.exit("the wheel brought no starter patches")
model = EditableModel(base, tokenizer, patches=next(iter(spec.submodule_search_locations)))


def said(generator: Any, text: str) -> str:
    """Return what a model says, by the call that every program makes."""
    prompt = tokenizer(text, return_tensors="pt")
    ids = generator.generate(**prompt, max_new_tokens=16, do_sample=False)
    answer = ids[0, prompt["input_ids"].shape[1] :]
    return str(tokenizer.decode(answer, skip_special_tokens=True)).strip()


if said(base, question) == right:
    sys.exit(f"atlas alone is right about {question!r}: nothing to show")
if said(model, question) != right:
    sys.exit(f"{question!r}: expected {right!r}, found {said(model, question)!r}")
untouched = "What is the official language of Kazakhstan?"
if said(model, untouched) != said(base, untouched):
    sys.exit(f"{untouched!r} is covered by no patch, and is answered otherwise than by atlas alone")
print("drop-in: one question corrected, one untouched")
