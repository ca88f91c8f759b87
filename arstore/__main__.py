"""`python -m arstore`: the same as the `arstore` command."""

from arstore.cli.main import main

if __name__ == "__main__":
    main()
