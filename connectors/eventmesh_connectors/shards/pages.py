"""Answers of GetRecords as they are on the wire.

botocore turns every time into a datetime and every base64 text into bytes, which is four fifths of
the work of reading; handlers want them as they were.
"""

from __future__ import annotations

from typing import Any

import orjson


def read_plainly(api: Any, service: str) -> None:
    """Let `api.get_records` return its answer's JSON undressed: times as numbers, blobs as base64.
    May be called again for the same client."""
    event = f"before-parse.{service}.GetRecords"
    api.meta.events.register(event, take_plain, unique_id="eventmesh-plain-records")


def take_plain(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """Parse an answer in botocore's place. Errors, and what is no JSON, are left to botocore."""
    if response_dict["status_code"] >= 300:
        return
    try:
        answer = orjson.loads(response_dict["body"])
    except orjson.JSONDecodeError:
        return
    if isinstance(answer, dict):
        customized_response_dict.update(answer)
        response_dict["body"] = b"{}"


def region_of(arn: str) -> str:
    """The region an ARN names; "" when it names none."""
    return (arn.split(":", 4) + [""] * 4)[3]
