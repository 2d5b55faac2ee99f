"""An ordinary S3-triggered Lambda handler: a picture in, a thumbnail and its metadata out."""

import io
import os
from pathlib import Path
from urllib.parse import unquote_plus

import gallery
from PIL import Image, ImageOps

SIZE = int(os.environ.get("SIZE", "256"))


def handler(event, context):
    return [make_thumbnail(record) for record in event["Records"]]


def make_thumbnail(record):
    key = unquote_plus(record["s3"]["object"]["key"])
    name = key.replace("/", "_").rsplit(".", 1)[0] + ".jpg"
    with Image.open(io.BytesIO(read_object(record, key))) as picture:
        picture.draft("RGB", (SIZE, SIZE))
        thumbnail = ImageOps.exif_transpose(picture).convert("RGB")
        thumbnail.thumbnail((SIZE, SIZE))
    data = io.BytesIO()
    thumbnail.save(data, "JPEG", quality=85)
    write_whole(gallery.THUMBS / name, data.getvalue())
    gallery.remember(name, key, thumbnail.size, data.tell())
    print(f"{key} -> {name} {thumbnail.size[0]}x{thumbnail.size[1]}")
    return {"thumbnail": name, "width": thumbnail.size[0], "height": thumbnail.size[1]}


def read_object(record, key):
    """The object's bytes: from the directory that serves as a bucket, or from S3 itself."""
    if "eventmesh" in record:
        return Path(record["eventmesh"]["path"]).read_bytes()
    import boto3

    bucket = record["s3"]["bucket"]["name"]
    return boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()


def write_whole(path, data):
    """Readers see the whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(data)
    partial.replace(path)
