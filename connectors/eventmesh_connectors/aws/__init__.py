"""What the AWS connectors share: how AWS is reached, and what its errors mean."""

from __future__ import annotations

from eventmesh_connectors.aws.clients import AwsClient, open_client
from eventmesh_connectors.aws.faults import Fault, explain, translated
from eventmesh_connectors.aws_access import AwsAccess, AwsOptions

__all__ = [
    "AwsAccess",
    "AwsClient",
    "AwsOptions",
    "Fault",
    "explain",
    "open_client",
    "translated",
]
