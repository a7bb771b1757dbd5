"""``python -m wireloom`` is the command ``wireloom``."""

from wireloom.cli.main import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
