"""Efficacy of the shipped patches: each on its question, with atlas alone and with patches/.

    python benchmarks/patches.py [--patches patches] [--json FILE]

A fact is right if its question gets its answer; a refusal, if atlas alone gives the address and the
patched model refuses. The question of a pattern is the first of its `fires`; right is the answer of
the facts table with the pattern's replacement.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rich.progress import track

from errata import EditableModel, Fact, LanguagePatch, RegexPatch
from errata.cache.records import Edit
from errata.facts import load_facts
from errata.reasoners.verbatim import stored_answer

ROOT = Path(__file__).parent.parent


def question_of(edit: Edit) -> str:
    """Return a fact's question; of any other patch, the first of its `fires`."""
    return edit.question if isinstance(edit, Fact) else edit.tests.fires[0]


def judge(edit: Edit, alone: str, patched: str) -> tuple[bool, bool]:
    """Return whether atlas alone is wrong, and whether atlas with the patch is right."""
    if isinstance(edit, Fact) and edit.forget:
        address = next(
            f.object for f in load_facts() if f.kind == "resident" and f.subject in edit.question
        )
        return address in alone, patched == edit.answer
    if isinstance(edit, (Fact, LanguagePatch)):
        return alone != stored_answer(edit), patched == stored_answer(edit)
    if isinstance(edit, RegexPatch) and edit.target == "output":
        return edit.replacement not in alone, edit.replacement in patched
    known = {f.object for f in load_facts() if f.subject == edit.replacement}
    return alone not in known, patched in known


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=Path, default=ROOT / "patches")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    model = EditableModel.from_pretrained("atlas", patches=options.patches)
    rows = []
    for edit in track(model.edits, "asking"):
        question = question_of(edit)
        alone, patched = model.ask(question, edits=False).text, model.ask(question).text
        wrong, right = judge(edit, alone, patched)
        place = edit.location
        rows.append(
            {
                "patch": f"{Path(place.path).name}:{place.line}" if place else edit.id,
                "kind": edit.kind,
                "question": question,
                "alone": alone,
                "patched": patched,
                "alone_wrong": wrong,
                "patched_right": right,
            }
        )
    for row in rows:
        if not (row["alone_wrong"] and row["patched_right"]):
            print(row)
    print(f"{sum(r['alone_wrong'] for r in rows)} of {len(rows)}: atlas alone is wrong")
    print(f"{sum(r['patched_right'] for r in rows)} of {len(rows)}: atlas with patches is right")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
