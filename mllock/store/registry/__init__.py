"""An OCI Distribution client (distribution-spec 1.1): references, reading, writing, referrers.

Not for layouts on disk (`mllock.store.layout`), not for package indexes. What a registry says is
hostile until it is verified: sizes are bounded, digests are computed from what was read.
"""
