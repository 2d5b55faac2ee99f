"""Sample events by kind, in the shapes in which handlers get them (semantics 4 to 8).

Pure: nothing is read, printed or sent here.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from random import Random
from types import MappingProxyType
from typing import Any

from eventmesh.cli.samples_dynamodb import DYNAMODB_SAMPLES
from eventmesh.cli.samples_http import HTTP_SAMPLES
from eventmesh.cli.samples_push import PUSH_SAMPLES
from eventmesh.cli.samples_queues import QUEUE_SAMPLES
from eventmesh.cli.samples_scene import Sample, Scene, Setting
from eventmesh.cli.samples_services import SERVICE_SAMPLES
from eventmesh.cli.samples_streams import STREAM_SAMPLES

__all__ = ["SAMPLES", "Sample", "generate", "list_settings"]

_FAMILIES = (
    DYNAMODB_SAMPLES,
    HTTP_SAMPLES,
    PUSH_SAMPLES,
    QUEUE_SAMPLES,
    SERVICE_SAMPLES,
    STREAM_SAMPLES,
)
#: kind -> how to make one, sorted by kind
SAMPLES: Mapping[str, Sample] = MappingProxyType(
    dict(sorted(sample for family in _FAMILIES for sample in family.items()))
)
#: settings of every kind
_PLACE: dict[str, Setting] = {"account": "123456789012", "region": "us-east-1"}


def generate(
    kind: str,
    settings: Mapping[str, str],
    count: int = 1,
    now: float = 0.0,
    random: Random | None = None,
) -> dict[str, Any]:
    """An event of `kind`, JSON-able, as of `now` (epoch seconds).

    `settings` are texts and override the defaults of `list_settings(kind)`. `count` is the number
    of records in the event. Identifiers are drawn from `random` (a fresh one by default): the same
    seed gives the same event. Raises ValueError, fit for users, for an unknown kind or setting, a
    value that is not allowed, or several records where an event never has more than one.
    """
    sample = _find(kind)
    values = _checked(kind, settings)
    if count < 1:
        raise ValueError(f"count: {count} is less than 1")
    if count > 1 and not sample.batched:
        raise ValueError(f"an event of kind {kind} is always about one thing: count must be 1")
    place = {name: str(values.pop(name)) for name in _PLACE}
    scene = Scene(now, random or Random(), count, **place)
    return sample.build(scene, **values)


def list_settings(kind: str) -> dict[str, Setting]:
    """The settings of `kind` and their defaults. Raises ValueError for an unknown kind."""
    return {**_find(kind).settings, **_PLACE}


def _find(kind: str) -> Sample:
    sample = SAMPLES.get(kind)
    if sample is None:
        near = difflib.get_close_matches(kind.lower().replace("_", "-"), SAMPLES, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise ValueError(f"no sample event {kind!r}{hint} Kinds: {', '.join(SAMPLES)}")
    return sample


def _checked(kind: str, settings: Mapping[str, str]) -> dict[str, Setting]:
    defaults = list_settings(kind)
    unknown = sorted(settings.keys() - defaults.keys())
    if unknown:
        near = difflib.get_close_matches(unknown[0], defaults, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else "."
        known = ", ".join(sorted(defaults))
        raise ValueError(f"{kind} has no setting {unknown[0]!r}{hint} Settings: {known}")
    given = {name: _convert(name, text, defaults[name]) for name, text in settings.items()}
    return {**defaults, **given}


def _convert(name: str, text: str, default: Setting) -> Setting:
    """`text` as the type of its setting's default."""
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{name}: {text!r} is neither true nor false")
        return text.lower() == "true"
    if isinstance(default, int):
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise ValueError(f"{name}: {text!r} is not a whole number")
        return int(text)
    return text
