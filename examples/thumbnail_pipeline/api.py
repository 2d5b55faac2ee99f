"""An HTTP API handler (payload 2.0): lists thumbnails and serves one."""

import base64

import gallery


def handler(event, context):
    name = event.get("pathParameters", {}).get("name")
    if name is None:
        return gallery.all_thumbs()
    path = gallery.THUMBS / name
    if "/" in name or path.suffix != ".jpg" or name.startswith(".") or not path.is_file():
        return {"statusCode": 404, "body": '{"message": "no such thumbnail"}'}
    return {
        "statusCode": 200,
        "headers": {"content-type": "image/jpeg"},
        "body": base64.b64encode(path.read_bytes()).decode(),
        "isBase64Encoded": True,
    }
