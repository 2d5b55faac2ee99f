"""Every server the tests know, by name."""

from __future__ import annotations

from collections.abc import Iterable

from tests.servers import aws, kafka, queues
from tests.servers.recipe import Recipe

RECIPES = {recipe.name: recipe for recipe in (*aws.RECIPES, *kafka.RECIPES, *queues.RECIPES)}

#: what programs that use a server read: the examples, AWS's own tools
PROGRAM_VARIABLES = {
    "kafka": "KAFKA_BROKERS",
    "kinesalite": "AWS_ENDPOINT_URL_KINESIS",
    "localstack": "AWS_ENDPOINT_URL",
    "rabbitmq": "RABBITMQ_URL",
}


def recipe_named(name: str) -> Recipe:
    """The recipe called `name`; raises LookupError naming those there are."""
    if name not in RECIPES:
        raise LookupError(f"no server {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]


def exports(addresses: Iterable[tuple[str, str]]) -> str:
    """Shell lines that point the tests at (name, address) pairs."""
    return "".join(f"export {RECIPES[name].variable}={address}\n" for name, address in addresses)


def program_exports(name: str, address: str) -> str:
    """A shell line that points programs, the examples for one, at the server; "" for none."""
    variable = PROGRAM_VARIABLES.get(name)
    return f"export {variable}={address}\n" if variable else ""
