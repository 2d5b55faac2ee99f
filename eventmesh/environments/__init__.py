"""Execution environments: where handlers run, one process each, one invocation at a time."""
