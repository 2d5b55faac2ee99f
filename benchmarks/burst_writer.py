"""Writes COUNT small files into DIRECTORY; prints when it began and ended (monotonic seconds)."""

import os
import sys
import time

directory, count = sys.argv[1], int(sys.argv[2])
names = [os.path.join(directory, f"f-{number:05}.txt") for number in range(count)]
began = time.monotonic()
for name in names:
    file = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o644)
    os.write(file, b"0123456789abcdef0123456789abcdef")
    os.close(file)
print(began, time.monotonic())
