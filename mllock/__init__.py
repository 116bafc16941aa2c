"""mllock: one spec, one lock, and signed evidence that what is deployed is what was trained."""

__version__ = "0.1.0"
__all__ = ["__version__"]
