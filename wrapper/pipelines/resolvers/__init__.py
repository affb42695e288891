"""Resolvers: what is tried where the gate's first decision is a miss or one hop short."""
