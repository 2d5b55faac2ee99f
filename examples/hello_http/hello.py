"""The smallest HTTP handler: what it returns is the JSON answer."""


def handler(event, context):
    return {"hello": event["pathParameters"]["name"], "request": context.aws_request_id}
