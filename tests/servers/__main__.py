"""`python -m tests.servers list|install|start NAME|env`: the test servers from a shell."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.servers.cache import cache_root
from tests.servers.catalogue import RECIPES, exports, program_exports, recipe_named
from tests.servers.recipe import MissingTool, StartFailed, Unavailable
from tests.servers.session import keep_for_others, kept_runs, put, server

PARALLEL = 4


def list_servers() -> int:
    print(f"cache: {cache_root()}")
    for recipe in RECIPES.values():
        state = "installed" if recipe.installed() else "-"
        print(f"{recipe.name:<11} {recipe.version:<8} {state:<10} {recipe.purpose}")
    return 0


def install_servers(names: Sequence[str]) -> int:
    """Install `names`, all by default, side by side; 1 if one cannot be had."""
    chosen = [recipe_named(name).name for name in names] or list(RECIPES)
    with ThreadPoolExecutor(PARALLEL) as pool:
        return max(pool.map(_install_one, chosen))


def _install_one(name: str) -> int:
    begun = time.monotonic()
    recipe = RECIPES[name]
    try:
        home = recipe.install()
    except MissingTool as refusal:
        print(f"{name}: {refusal}", file=sys.stderr)
        return 0 if recipe.fallback else 1
    except Unavailable as refusal:
        print(f"{name}: {refusal}", file=sys.stderr)
        return 1
    print(f"{name}: {home} ({time.monotonic() - begun:.1f} s)", flush=True)
    return 0


def start_servers(names: Sequence[str]) -> int:
    """Start `names`, say how tests and examples are pointed at them, keep them until Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for name in names:
            # The variables mean "given from outside"; here the outside is us.
            os.environ.pop(recipe_named(name).variable, None)
            address = server(name).address
            lines = exports([(name, address)]) + program_exports(name, address)
            print(lines, end="", flush=True)
        keep_for_others()
        print("# running until Ctrl-C", file=sys.stderr, flush=True)
        while True:
            signal.pause()
    except (Unavailable, StartFailed) as refusal:
        print(f"{name}: {refusal}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def print_environment() -> int:
    """Export lines for what a `start` in another shell keeps running."""
    found: dict[str, str] = {}
    for directory in kept_runs():
        for one in put(directory, {"do": "list"}):
            if one["key"] in RECIPES:
                found[one["key"]] = one["address"]
    print(exports(found.items()), end="")
    return 0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what there is and what is installed")
    install = commands.add_parser("install", help="install servers (all, without names)")
    install.add_argument("names", nargs="*", metavar="NAME")
    start = commands.add_parser("start", help="start servers and keep them until Ctrl-C")
    start.add_argument("names", nargs="+", metavar="NAME")
    commands.add_parser("env", help="export lines for servers that run now")
    parsed = parser.parse_args(arguments)
    try:
        if parsed.command == "install":
            return install_servers(parsed.names)
        if parsed.command == "start":
            return start_servers(parsed.names)
    except LookupError as unknown:
        parser.error(str(unknown))
    return list_servers() if parsed.command == "list" else print_environment()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
