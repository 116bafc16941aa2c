"""A shared run, taken apart and put together again, as an attacker would."""

from __future__ import annotations

import json

from mllock.store.oci_json import MEDIA_INDEX
from support.layers import MANIFEST, compact, sha
from support.small_registry import SmallRegistry

TITLE = "org.opencontainers.image.title"
NAME = "org.opencontainers.image.ref.name"


class Chain:
    """A shared run, taken apart; `save` puts it together again with every digest repaired."""

    def __init__(self, server: SmallRegistry) -> None:
        self.server = server
        self.index = self.read(server.tags["wine", "v1"])
        self.model = self.read(self.entry("model")["digest"])
        self.run = self.read(self.entry("run")["digest"])

    def read(self, digest):
        return json.loads(self.server.manifests["wine", digest][1])

    def entry(self, name):
        return next(
            e for e in self.index["manifests"] if e.get("annotations", {}).get(NAME) == name
        )

    def blob(self, data, media_type, title=None):
        self.server.blobs["wine", sha(data)] = data
        value = {"mediaType": media_type, "digest": sha(data), "size": len(data)}
        return value | ({"annotations": {TITLE: title}} if title else {})

    def file(self, title):
        return next(e for e in self.run["layers"] if e["annotations"][TITLE] == title)

    def save(self, *, model=True, run=True):
        if model:
            self._put(self.model, self.entry("model"))
            subject = {k: self.entry("model")[k] for k in ("mediaType", "digest", "size")}
            self.run["subject"] = subject
        if run:
            self._put(self.run, self.entry("run"))
        self.server.put("wine", "v1", compact(self.index), MEDIA_INDEX)

    def _put(self, value, entry):
        data = compact(value)
        self.server.put("wine", None, data, MANIFEST)
        entry["digest"], entry["size"] = sha(data), len(data)
