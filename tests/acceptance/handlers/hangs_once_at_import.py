import os
import time

_mark = os.path.join(os.environ["TMPDIR"], "started-before")
if not os.path.exists(_mark):
    open(_mark, "w").close()
    time.sleep(60)


def handler(event, context):
    return "second try"
