"""Time zones by name, with a hint for a wrong one."""

from __future__ import annotations

import difflib
import functools
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, available_timezones

_UTC_NAMES = ("UTC", "ETC/UTC", "Z")


@functools.cache
def find_zone(name: str) -> tzinfo:
    """The IANA time zone `name`. Reads the zone's file the first time (so it may
    block), and keeps it.

    Raises ValueError naming the nearest zones.
    """
    if name.upper() in _UTC_NAMES:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"unknown time zone {name[:100]!r}; {_hint(name[:100])}") from None


def _hint(name: str) -> str:
    if nearest := _nearest(name.casefold().replace(" ", "_")):
        return f"did you mean {' or '.join(nearest)}?"
    return "use an IANA name such as UTC, Europe/Zurich or America/New_York"


def _nearest(wanted: str) -> list[str]:
    """Zones like `wanted` (in lower case), by whole name and by city; only the one that is
    equal, where there is one."""
    zones = {zone.casefold(): zone for zone in sorted(available_timezones())}
    cities = {zone.rpartition("/")[2]: zone for zone in zones}
    if wanted in zones or wanted in cities:
        return [zones[cities.get(wanted, wanted)]]
    near = difflib.get_close_matches(wanted, zones, n=2, cutoff=0.7)
    city = wanted.rpartition("/")[2]
    near += [cities[name] for name in difflib.get_close_matches(city, cities, n=2, cutoff=0.7)]
    return list(dict.fromkeys(zones[zone] for zone in near))[:3]
