"""A resolver of another package: a miss that is shouted is decided as if it were not."""

from dataclasses import replace


class Shout:
    name = "acme-shout"
    routes = frozenset({"base"})

    def resolve(self, decisions, context):
        loud = [row for row, decision in enumerate(decisions) if decision.query.endswith("!!")]
        texts = [decisions[row].query.rstrip("!") + "?" for row in loud]
        resolved = list(decisions)
        found = context.decide(texts, [context.scopes[row] for row in loud], before=self)
        for row, text, one in zip(loud, texts, found, strict=True):
            if one.hit:
                resolved[row] = replace(one, query=decisions[row].query, canonical_query=text)
        return resolved
