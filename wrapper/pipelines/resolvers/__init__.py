"""Resolvers: the stages between the gate's decision and the final one."""
