"""Deterministic simulation of the lease and checkpoint protocol: one seed is one run.

Three engines, each the product's own code on an event loop of its own, share one store over a
network that delays, loses replies and goes down; engines are stopped (SIGSTOP), killed, restarted.
Time is virtual, so a run of minutes takes milliseconds, and the same seed gives the same run.

`python -m tests.simulation --seed 17 --trace` replays one.
"""
