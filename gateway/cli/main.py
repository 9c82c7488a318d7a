"""The command `comptroller`. What stands here and in the files it imports must load fast: see `lazy`."""

from gateway.cli.app import app


def main() -> None:
    """Entry point."""
    app(prog_name="comptroller")


if __name__ == "__main__":
    main()
