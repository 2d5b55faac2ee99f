"""From configured functions to functions ready to run: zips are unpacked once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from eventmesh.functions import packages
from eventmesh.functions.function import Function


def prepare_functions(functions: Iterable[Function], unpacked: Path) -> list[Function]:
    """The functions with directories in place of zips. Blocks; raises PackageError."""
    return [prepare_function(function, unpacked) for function in functions]


def prepare_function(function: Function, unpacked: Path) -> Function:
    code = packages.prepare_code(function.code_directory, unpacked)
    layers = tuple(packages.prepare_layer(layer, unpacked) for layer in function.layers)
    return replace(function, code_directory=code, layers=layers)
