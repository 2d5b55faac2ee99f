"""Looking whether a real bucket is there, with near names when it is not."""

from __future__ import annotations

from eventmesh.errors import EventMeshError, SourceUnavailable
from eventmesh_connectors.aws import AwsClient, explain, translated
from eventmesh_connectors.aws.faults import Fault, build_error, near_names

_MISSING = ("404", "NoSuchBucket", "NotFound")


async def check_bucket(
    client: AwsClient, name: str, raised: type[EventMeshError] = SourceUnavailable
) -> None:
    """Return when bucket `name` is there. Raises `raised`; when it does not exist, with names like
    its own. One that may be used but not looked at (403) passes."""
    doing = f"cannot open bucket {name}"
    try:
        await client.api.head_bucket(Bucket=name)
    except Exception as error:
        fault = explain(error)
        if fault is None:
            raise
        code = str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))
        if code in ("403", "AccessDenied"):
            return
        if code in _MISSING:
            fault = await _describe_missing(client, name)
        raise build_error(doing, fault, raised) from error


async def _describe_missing(client: AwsClient, name: str) -> Fault:
    try:
        with translated("cannot list buckets"):
            answer = await client.api.list_buckets()
    except SourceUnavailable:
        hint = "check its name and region:"
    else:
        names = [str(one["Name"]) for one in answer.get("Buckets") or ()]
        hint = near_names(name, names, "buckets")
    return Fault(f"there is no such bucket at {client.endpoint_url}; {hint}", missing=True)
