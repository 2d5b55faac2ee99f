"""A scheduled Lambda handler: writes how many thumbnails there are."""

import gallery


def handler(event, context):
    thumbs = gallery.all_thumbs()
    total = sum(thumb["bytes"] for thumb in thumbs)
    text = f"{event['time']}: {len(thumbs)} thumbnails, {total} bytes\n"
    (gallery.THUMBS / "report.txt").write_text(text)
    print(text, end="")
    return {"thumbnails": len(thumbs), "bytes": total}
