print("preparing")


def handler(event, context):
    print("handling")
