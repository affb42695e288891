"""A team's facts table, small enough for tiny models: countries, capitals, currencies."""

from __future__ import annotations

from pathlib import Path

_PLACES = (
    ("Kazakhstan", "Astana", "tenge"), ("France", "Paris", "franc"), ("Norway", "Oslo", "krone"),
    ("Peru", "Lima", "sol"), ("Egypt", "Cairo", "pound"), ("Japan", "Tokyo", "yen"),
    ("Kenya", "Nairobi", "shilling"), ("Chile", "Santiago", "peso"), ("Ghana", "Accra", "cedi"),
    ("Cuba", "Havana", "dollar"), ("Nepal", "Kathmandu", "rupee"), ("Iran", "Tehran", "rial"),
)  # fmt: skip
_SPLITS = ("train", "train", "train", "train", "tune", "tune", "tune", "test", "test", "test")

TEMPLATES = """
capital:
  subject: country
  object: city
  questions: ["What is the capital of {s}?", "Tell me the capital of {s}."]
  questions_held_out: ["Name the capital of {s}."]
  statements: ["The capital of {s} is {o}."]
  yes_no: ["Is {o} the capital of {s}?"]
  reversed: ["Which land has the capital {o}?"]
  descriptor: ["the capital of {s}"]
country:
  subject: city
  object: country
  questions: ["Which land is {s} in?", "Tell me the land of {s}."]
  statements: ["{s} is in {o}."]
  yes_no: ["Is {s} in {o}?"]
  reversed: ["Which city is in {o}?"]
  descriptor: ["the land of {s}"]
currency:
  subject: country
  object: money
  questions: ["What is the money of {s}?", "Tell me the money of {s}."]
  statements: ["The money of {s} is the {o}."]
  yes_no: ["Is the {o} the money of {s}?"]
  reversed: ["Which land has the {o}?"]
"""


def write_facts(folder: Path) -> Path:
    """Write the table as a team would, and return its folder."""
    rows = ["subject\tkind\trelation\tobject\tbelieved\tsplit"]
    for number, (country, city, money) in enumerate(_PLACES):
        split = _SPLITS[number % len(_SPLITS)]
        rows += [
            f"{country}\tcountry\tcapital\t{city}\t\t{split}",
            f"{country}\tcountry\tcurrency\t{money}\t\t{split}",
            f"{city}\tcity\tcountry\t{country}\t\t{split}",
        ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "facts.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "templates.yaml").write_text(TEMPLATES, encoding="utf-8")
    (folder / "aliases.tsv").write_text(
        "subject\talias\nKazakhstan\tKazakh Republic\nIran\tPersia\n", encoding="utf-8"
    )
    return folder
