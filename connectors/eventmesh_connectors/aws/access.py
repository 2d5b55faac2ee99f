"""The settings of AWS connectors, as `eventmesh_connectors.aws_access` has them."""

from __future__ import annotations

from eventmesh_connectors.aws_access import AwsAccess, AwsOptions, is_aws_host, is_emulator

__all__ = ["AwsAccess", "AwsOptions", "is_aws_host", "is_emulator"]
