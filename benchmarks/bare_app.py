"""The least an ASGI app can do: read the request, answer the bytes in $ANSWER. Runs in the peers'
virtual environment."""

import json
import os

_answer = json.loads(os.environ["ANSWER"])
_BODY = _answer["body"].encode()
_START = {
    "type": "http.response.start",
    "status": _answer["status"],
    "headers": [(name.encode(), value.encode()) for name, value in _answer["headers"]],
}


async def app(scope, receive, send):  # type: ignore[no-untyped-def]
    while (await receive()).get("more_body"):
        pass
    await send(_START)
    await send({"type": "http.response.body", "body": _BODY})
