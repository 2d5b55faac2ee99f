"""How a real bucket is named: `s3://name`, and `s3://name/prefix` for what is put into it. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

SCHEME = "s3://"
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class BucketName(NamedTuple):
    """A bucket and the beginning of keys in it."""

    name: str
    prefix: str = ""


def parse_bucket(text: str) -> BucketName:
    """The bucket of `s3://name/prefix` or `arn:aws:s3:::name`. Raises ValueError fit for users."""
    if text.startswith("arn:"):
        name, prefix = text.rpartition(":")[2], ""
        is_bucket = re.fullmatch(r"arn:[a-z-]+:s3:::[^/]+", text) is not None
    else:
        name, _, prefix = text.removeprefix(SCHEME).partition("/")
        is_bucket = text.startswith(SCHEME)
    if not is_bucket or not _NAME.fullmatch(name):
        raise ValueError(
            f"{text!r} is not a bucket; write s3://name with 3 to 63 lower-case letters, digits,"
            " . and -"
        )
    return BucketName(name, prefix)
