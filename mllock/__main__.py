"""`python -m mllock` is `mllock`."""

from mllock.cli.main import main

if __name__ == "__main__":
    main()
