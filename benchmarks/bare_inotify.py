"""The least a watcher can do: count closed files. Runs in the peers' virtual environment.

`bare_inotify.py DIRECTORY COUNT` prints a line once it watches, and at the end when (monotonic
seconds) it had seen how many."""

import asyncio
import sys
import time

from asyncinotify import Inotify, Mask

QUIET_SECONDS = 3.0


async def count_files(directory: str, wanted: int) -> tuple[float, int]:
    seen = 0
    with Inotify() as inotify:
        inotify.add_watch(directory, Mask.CLOSE_WRITE)
        print("watching", flush=True)
        last = time.monotonic()
        while seen < wanted:
            try:
                async with asyncio.timeout(QUIET_SECONDS if seen else None):
                    async for event in inotify:
                        seen += event.mask & Mask.CLOSE_WRITE != 0
                        if seen == wanted:
                            break
            except TimeoutError:
                return last, seen
            last = time.monotonic()
    return last, seen


print(*asyncio.run(count_files(sys.argv[1], int(sys.argv[2]))))
