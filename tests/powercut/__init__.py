"""The power-cut simulator: what is on the disk when the power goes.

`kill -9` cannot see a missing fsync, for the page cache outlives the process. Here the real store
runs in a child under strace; from its writes, syncs and renames the disk of any moment is rebuilt
as the worst the promises of the kernel allow, opened with the real `open_sqlite`, and compared with
what the store had acknowledged by then.
"""
