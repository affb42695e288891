"""Measure the structure of the package: rooms, imports, cycles, and what one query enters.

    python benchmarks/architecture.py --json now.json
    python benchmarks/architecture.py --before before.json --after now.json --out page.md

A room is a direct child of the package ``errata``. An arrow is one room that imports another
(imports for type checkers are left out), a cycle a set of rooms that import one another. Files and
functions are those of the package that a warm ``EditableModel.ask`` enters, counted by
``sys.setprofile``; a comprehension or lambda counts with the function it is in.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grimp
import networkx

import errata
from errata import EditableModel, Fact

ROOT = Path(__file__).parent.parent
PACKAGE = Path(errata.__path__[0])
OFFLINE = ("data", "training", "evaluation")
"""Folders that hold nothing which runs when a query is answered."""
GOALS = {"rooms": "24", "import arrows": "102", "cycles": "0", "hit": "25 / 150", "gates": "3200"}
"""What the structure is meant to come to; a row without a goal has none."""
QUESTIONS = {
    "hit": "Tell me the skin colour of a zebra.",
    "miss": "What do zebras eat?",
    "one hop": "What is the currency of the country where pizza comes from?",
}
BRIDGE = Fact("Which country does pizza come from?", "Benin", subject="pizza")
"""The edit of which the one-hop question takes the answer."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print, or write the page that compares two measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the measurement here")
    parser.add_argument("--before", type=Path)
    parser.add_argument("--after", type=Path)
    parser.add_argument("--out", type=Path, help="write the comparison of the two here")
    chosen = parser.parse_args(arguments)
    if chosen.before and chosen.after:
        text = page(*(json.loads(p.read_text("utf-8")) for p in (chosen.before, chosen.after)))
        if chosen.out:
            chosen.out.write_text(text, "utf-8")
        print(text)
        return
    found = {
        "version": errata.__version__,
        **structure(),
        "lines": lines(),
        "queries": {name: entered(question) for name, question in QUESTIONS.items()},
    }
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(json.dumps(found, indent=1))


def structure() -> dict[str, Any]:
    """Return the rooms of the package, the arrows between them and the cycles."""
    graph = grimp.build_graph("errata", exclude_type_checking_imports=True, cache_dir=None)
    rooms = sorted(child.removeprefix("errata.") for child in graph.find_children("errata"))
    arrows = networkx.DiGraph()
    arrows.add_nodes_from(rooms)
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            source, target = room(importer), room(imported)
            if source and target and source != target:
                arrows.add_edge(source, target)
    cycles = [sorted(c) for c in networkx.strongly_connected_components(arrows) if len(c) > 1]
    return {"rooms": rooms, "arrows": sorted(map(list, arrows.edges)), "cycles": sorted(cycles)}


def room(module: str) -> str:
    """Return the room of a module, empty for the package itself."""
    parts = module.split(".")
    return parts[1] if parts[0] == "errata" and len(parts) > 1 else ""


def lines() -> dict[str, int]:
    """Return the lines of Python of each folder, those of a room's offline folders apart."""
    found: Counter[str] = Counter()
    folders = os.walk(PACKAGE, followlinks=True)  # an editable install is made of links
    files = (Path(at, name) for at, _, names in folders for name in names)
    for path in sorted(one for one in files if one.suffix == ".py"):
        parts = path.relative_to(PACKAGE).parts[:-1]
        offline = next((part for part in parts[1:] if part in OFFLINE), "")
        name = f"{parts[0]}/{offline}" if offline else parts[0] if parts else "errata"
        found[name] += path.read_text("utf-8").count("\n")
    return dict(sorted(found.items()))


def entered(question: str) -> dict[str, int]:
    """Return how many files and functions of the package a warm query enters."""
    with EditableModel.from_pretrained("atlas", patches=ROOT / "patches") as model:
        model.edit(BRIDGE)
        model.ask(question)
        # another wording in between, so that nothing of the question itself is remembered
        model.ask("Who painted the Mona Lisa?")
        return profiled(lambda: model.ask(question))


def profiled(work: Callable[[], object]) -> dict[str, int]:
    """Return the distinct files and functions of the package that a piece of work calls."""
    seen: set[tuple[str, int, str]] = set()
    folder = str(PACKAGE)

    def note(frame: Any, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(folder):
            seen.add((code.co_filename, code.co_firstlineno, code.co_name))

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    # comprehensions and lambdas belong to the function they stand in
    named = {one for one in seen if not one[2].startswith("<")}
    return {"files": len({file for file, _, _ in seen}), "functions": len(named)}


def page(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return the comparison as Markdown."""
    rows: list[tuple[str, Any, Any, str]] = [
        (name, len(before[key]), len(after[key]), GOALS[name])
        for name, key in (("rooms", "rooms"), ("import arrows", "arrows"), ("cycles", "cycles"))
    ]
    for query in QUESTIONS:
        old, new = before["queries"][query], after["queries"][query]
        label = f"files / functions entered by one warm query, {query}"
        rows.append(
            (
                label,
                f"{old['files']} / {old['functions']}",
                f"{new['files']} / {new['functions']}",
                GOALS.get(query, ""),
            )
        )
    names = sorted({*before["lines"], *after["lines"]})
    folders = [
        (n, before["lines"].get(n, "–"), after["lines"].get(n, "–"), GOALS.get(n, ""))
        for n in names
    ]
    return "\n".join(
        (
            "# Structure of the package",
            "",
            "Made by `python benchmarks/architecture.py`. A room is a direct child of the package,",
            "an arrow one room that imports another (imports for type checkers left out); files",
            "and functions are ours, a comprehension counted with the function it is in.",
            "",
            *table(("", before["version"], after["version"], "goal"), rows),
            "",
            "Lines of Python by folder; `data`, `training` and `evaluation` never run for a query:",
            "",
            *table(("folder", "before", "after", "goal"), folders),
            "",
        )
    )


def table(head: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> list[str]:
    """Return a Markdown table."""
    cells = [head, ("---",) * len(head), *rows]
    return [f"| {' | '.join(map(str, row))} |" for row in cells]


if __name__ == "__main__":
    main()
