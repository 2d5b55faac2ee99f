"""`python -m eventmesh`: the same as the `eventmesh` command."""

from eventmesh.cli import main

if __name__ == "__main__":
    main()
