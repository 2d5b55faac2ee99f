"""The engine's memory: asynchronous events, source positions, deliveries and dead letters, behind
one contract."""
