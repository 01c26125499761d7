"""A folder as the object store: what the sink's logic needs of `sinks.store.Store`, without a server."""

from dataclasses import dataclass
from pathlib import Path

from sinks.store import Missing


@dataclass(frozen=True)
class FolderStore:
    """Objects are files under `root`; Delta reaches them as files too."""

    root: Path
    endpoint: str = "a folder"

    def put(self, path, data):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def get(self, path):
        try:
            return (self.root / path).read_bytes()
        except FileNotFoundError as error:
            raise Missing(path) from error

    def list(self, prefix):
        files = (str(file.relative_to(self.root)) for file in self.root.rglob("*") if file.is_file())
        return sorted(path for path in files if path.startswith(prefix))

    def remove(self, path):
        (self.root / path).unlink(missing_ok=True)

    def keep(self, prefix):
        self.put(f"{prefix}/_keep", b"")

    def uri(self, path):
        return str(self.root / path)

    def delta_options(self):
        return {}
