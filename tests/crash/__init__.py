"""The crash harness: the real command killed again and again, its sources broken, and an oracle.

    python -m tests.crash --source kafka --kills 300 --seed 7

One JSON line a run. Nothing of the engine is imported here but by `mutant.py`.
"""
