"""eventmesh: Lambda handlers, run anywhere, by any trigger."""
