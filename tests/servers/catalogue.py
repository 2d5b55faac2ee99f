"""Every server the tests know, by name."""

from __future__ import annotations

from collections.abc import Iterable

from tests.servers import aws, kafka, queues
from tests.servers.recipe import Recipe

RECIPES = {recipe.name: recipe for recipe in (*aws.RECIPES, *kafka.RECIPES, *queues.RECIPES)}


def recipe_named(name: str) -> Recipe:
    """The recipe called `name`; raises LookupError naming those there are."""
    if name not in RECIPES:
        raise LookupError(f"no server {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]


def exports(addresses: Iterable[tuple[str, str]]) -> str:
    """Shell lines that point the tests at (name, address) pairs."""
    return "".join(f"export {RECIPES[name].variable}={address}\n" for name, address in addresses)
