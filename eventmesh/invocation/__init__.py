"""Running functions: request/response, the durable asynchronous queue, limits and destinations."""
