"""Where `mllock` and `python -m mllock` begin: Ctrl-C is answered before any large import.

Nothing is begun yet at that time, so that leaving at once leaves nothing behind. From then on it is
`mllock.cli.main`'s.
"""

# The part of `signal` that is in the interpreter: the rest of it takes longer to import than all
# that is done here, and `types` and `typing` as well.
import _signal as signal  # type: ignore[import-not-found] # typeshed has only `signal`
import os

__all__ = ["main"]


def _leave(_number: int, _frame: object) -> None:
    os.write(2, b"\ninterrupted: nothing was half-written\n")
    os._exit(130)


def main() -> None:
    # Ignored, as in a shell's background, it stays ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from mllock.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
