"""Where `mllock` and `python -m mllock` begin: Ctrl-C is answered before any large import.

Nothing is begun yet at that time, so that leaving at once leaves nothing behind. From then on it is
`mllock.cli.main`'s.
"""

import os
import signal
from types import FrameType
from typing import NoReturn

__all__ = ["main"]


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
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
