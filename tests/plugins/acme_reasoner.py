"""A reasoner of another package: quotes every fact that governs a query."""

from errata.cache.errors import UnsupportedEdit
from errata.cache.records import Fact


class Quote:
    def __init__(self, base, tokenizer):
        self.tokenizer = tokenizer

    def supports(self, edit):
        return isinstance(edit, Fact) and not edit.forget

    def answer(self, queries, edits, generation):
        for edit in (edit for some in edits for edit in some):
            if not self.supports(edit):
                raise UnsupportedEdit(f"edit {edit.id}: expected a fact, found {edit.kind!r}")
        count = generation.num_return_sequences or 1
        return [
            [f"{query} {'; '.join(edit.answer for edit in some)}"] * count
            for query, some in zip(queries, edits, strict=True)
        ]
