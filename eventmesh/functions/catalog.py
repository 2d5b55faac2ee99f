"""The functions of a running mesh, by name and qualifier. They may change while the engine runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from eventmesh.errors import ResourceNotFound
from eventmesh.functions import names
from eventmesh.functions.function import LATEST, Function


class FunctionCatalog:
    """Finds the function version that a caller means."""

    def __init__(
        self,
        functions: Iterable[Function],
        *,
        region: str = "us-east-1",
        account_id: str = "000000000000",
    ) -> None:
        self.region = region
        self.account_id = account_id
        self._versions: dict[tuple[str, str], Function] = {}
        for function in functions:
            self.put(function)

    def put(self, function: Function) -> None:
        """Add a function version, or replace it: later invocations use the new one."""
        self._versions[function.name, function.version] = function

    def __iter__(self) -> Iterator[Function]:
        return iter(tuple(self._versions.values()))

    def find(self, name: str, qualifier: str = "") -> Function:
        """The version behind `qualifier` ("" is $LATEST). Raises ResourceNotFound."""
        function = self._versions.get((name, qualifier or LATEST))
        if function is None:
            raise names.not_found(self.region, self.account_id, name, qualifier)
        return function

    def resolve(self, reference: names.FunctionReference) -> Function:
        """As `find`, for a parsed reference; ARNs of another region or account are not found
        here."""
        if reference.region not in (None, self.region):
            raise ResourceNotFound(
                f"Functions from '{reference.region}' are not reachable "
                f"in this region ('{self.region}')"
            )
        if reference.account_id not in (None, self.account_id):
            raise names.not_found(
                self.region, str(reference.account_id), reference.name, reference.qualifier
            )
        return self.find(reference.name, reference.qualifier)
