"""Where `mllock` and `python -m mllock` begin: Ctrl-C is answered before any large import.

Nothing is begun yet at that time, so that leaving at once leaves nothing behind. From then on it is
`mllock.cli.main`'s. Names of files are UTF-8 in manifests and images whatever the locale says, so
that where Python would read them otherwise it is begun again, in its UTF-8 mode.

It ends here as well: once threads are joined, exit functions have run and streams are flushed, the
interpreter does not take itself apart. That is a seventh of the time of a short command (ADR 0150).
"""

# The part of `signal` that is in the interpreter: the rest of it takes longer to import than all
# that is done here, and `types` and `typing` as well.
import _signal as signal  # type: ignore[import-not-found] # typeshed has only `signal`
import atexit
import gc
import os
import sys

__all__ = ["main"]


def _leave(_number: int, _frame: object) -> None:
    os.write(2, b"\ninterrupted: nothing was half-written\n")
    os._exit(130)


def _in_utf8() -> None:
    if sys.getfilesystemencoding() == "utf-8" or "utf8" in sys._xoptions:  # noqa: SLF001 - documented
        return
    # PEP 540. Not a variable: programs that are run would inherit it.
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606


class _End:
    """The end of the process, once its code is known: the last exit function of all.

    Exit functions run when threads are joined, last come first. Whatever is not plain is left to
    the interpreter: an exception that nobody caught, a stream that cannot be written to, exit
    functions that were there before us.
    """

    code: int | None = None

    def leave(self) -> None:
        if self.code is None:
            return
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):
            return
        os._exit(self.code)


def main() -> None:
    """Run the command line, and end the process with its code."""
    _in_utf8()
    end = _End()
    if not atexit._ncallbacks():  # noqa: SLF001 - there is no other way to ask
        atexit.register(end.leave)
    # Ignored, as in a shell's background, it stays ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    # A short program that makes many objects and drops few: three dozen looks at them find nothing.
    gc.set_threshold(50_000)
    from mllock.cli.main import main as run

    try:
        run()
    except SystemExit as ended:
        end.code = ended.code if isinstance(ended.code, int) else None
        raise


if __name__ == "__main__":
    main()
