"""The payload formats by the name that mappings.yaml gives them."""

from __future__ import annotations

from .alb import LOAD_BALANCER
from .exchange import PayloadFormat
from .payload_v1 import REST_API
from .payload_v2 import FUNCTION_URL, HTTP_API

FORMATS: dict[str, PayloadFormat] = {
    format.name: format for format in (HTTP_API, REST_API, FUNCTION_URL, LOAD_BALANCER)
}
