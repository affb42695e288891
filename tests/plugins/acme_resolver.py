"""A resolver of another package: a miss with a colon is decided as what stands behind it."""

from dataclasses import replace


class AfterColon:
    name = "acme-colon"
    routes = frozenset({"base"})

    def resolve(self, decisions, context):
        rows = [row for row, decision in enumerate(decisions) if ": " in decision.query]
        texts = [decisions[row].query.split(": ", 1)[1] for row in rows]
        resolved = list(decisions)
        found = context.decide(texts, [context.scopes[row] for row in rows], before=self)
        for row, text, one in zip(rows, texts, found, strict=True):
            if one.hit:
                resolved[row] = replace(one, query=decisions[row].query, canonical_query=text)
        return resolved
