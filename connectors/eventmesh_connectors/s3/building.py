"""Which source fits a bucket. Real buckets need a client library that directories do without, so
theirs are imported only when asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eventmesh.connectors import Destination, PushSource, SourceContext
from eventmesh.errors import ConnectorNotInstalled
from eventmesh_connectors.s3.options import S3DestinationOptions, S3Options
from eventmesh_connectors.s3.source import S3Source


def build_source(options: S3Options, context: SourceContext) -> PushSource:
    """The source of a directory, of a bucket's queue, or of its listing. Opens nothing.

    Raises ConnectorNotInstalled when the client library for real buckets is missing.
    """
    if not options.is_real:
        return S3Source(options, context)
    with _explained():
        from eventmesh_connectors.s3.bucket_listing import BucketListingSource
        from eventmesh_connectors.s3.bucket_queue import BucketQueueSource
    if options.queue is not None:
        return BucketQueueSource(options, context)
    return BucketListingSource(options, context)


def build_destination(options: S3DestinationOptions) -> Destination:
    """The destination of a real bucket. Opens nothing. Raises ConnectorNotInstalled."""
    with _explained():
        from eventmesh_connectors.s3.bucket_destination import BucketDestination

        return BucketDestination(options)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in ("aiobotocore", "aiohttp", "botocore"):
            raise
        raise ConnectorNotInstalled(
            f"buckets of S3 need '{library}': pip install 'eventmesh[aws]'"
        ) from error
