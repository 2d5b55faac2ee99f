"""The connectors that come with eventmesh, one module or package a system."""
