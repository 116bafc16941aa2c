"""The Debian half of a lock: archives, signatures, indexes, solving, fetching.

Order of trust: keys of our wheel -> InRelease -> Packages -> .deb. Nothing is used before the
link above it was verified; the solver and the script rules do no IO.
"""

from mllock.lock.debian.fetch import fetch_debs
from mllock.lock.debian.resolve import DebianResolver

__all__ = ["DebianResolver", "fetch_debs"]
