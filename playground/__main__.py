"""`python -m playground …`: the command line."""

from playground.cli.app import app

if __name__ == "__main__":
    app()
