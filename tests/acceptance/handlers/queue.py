"""Named like a module of the standard library, as users' files sometimes are."""


def handler(event, context):
    return "my queue"
