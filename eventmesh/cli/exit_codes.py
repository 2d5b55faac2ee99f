"""What the command's exit status says."""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    OK = 0
    #: something failed while running
    FAILED = 1
    #: the command line is wrong (click's own)
    USAGE = 2
    #: the configuration is invalid
    CONFIG = 3
    #: a source cannot be reached (`run --strict`)
    SOURCE = 4
    #: the handler failed (`invoke`)
    HANDLER = 5
    #: the drain ran out of time; what was running is attempted again after the next start
    DRAIN = 6
    #: a second signal stopped it at once
    INTERRUPTED = 130
