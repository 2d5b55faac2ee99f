"""What handlers get of eventmesh's own environment."""

from __future__ import annotations

from collections.abc import Mapping


def inherited_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Where AWS services are (an emulator's address), and nothing else: everything that a handler
    gets stands in its `env`."""
    return {k: v for k, v in environ.items() if k.startswith("AWS_ENDPOINT_URL")}
