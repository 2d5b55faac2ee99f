"""What the engine itself answers over HTTP: the Lambda-compatible API, metrics and health."""
