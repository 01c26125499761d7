"""A node that changes hands in one process: each step as its command takes it, between two folders."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.hub import entrusting as hub
from pipeline.hub.proof import Evidence
from pipeline.node import node as nodes
from pipeline.node import revising
from pipeline.node import sync as syncing
from pipeline.node.handover import entrusting, leaving, succeeding
from pipeline.node.journal import Journal, Reader
from pipeline.node.record import Recorder
from schemas import seal
from schemas.columns import Blob
from schemas.errors import BadInput
from schemas.nodekeys import NodeKeys
from tests.unit.pipeline.node.revised import report
from tests.unit.pipeline.node.test_record import INCIDENT, PATTERN
from tests.unit.pipeline.node.test_sync import Log

TO = "UNCT-COD"
CONSENT, PUBLIC = {"sharing_basis": "informed_consent"}, {"sharing_basis": "public_information"}


@dataclass
class Handing:
    """The folder of the team that leaves and that of its successor, what lies on the stick between them, and the hub's pair."""

    old: nodes.Node
    new: Path
    stick: Path
    pair: tuple[bytes, bytes]

    @property
    def package(self):
        return self.stick / "package"

    def offer(self):
        with Journal(self.old.journal) as journal:
            self._put("offer", leaving.offer(self.old, journal, TO)[0])

    def accept(self):
        self._put("accepted", succeeding.accept(self.new, self._get("offer"), TO)[0])

    def close(self):
        with Journal(self.old.journal) as journal:
            leaving.close(self.old, journal, self._get("accepted"), self.package)

    def open(self):
        node, note = succeeding.open_package(self.new, self.package, self.pair[0], "en")
        self._put("received", note)
        return node

    def retire(self):
        return leaving.retire(self.old, self._get("received"))

    def through(self, last="open"):
        """Go through all steps up to one; return the successor's node where it has it by then."""
        for step in STEPS[: STEPS.index(last) + 1]:
            getattr(self, step)()
        return nodes.load(self.new) if (self.new / "node.json").exists() else None

    def ask(self, *numbers, on=None):
        node = nodes.load(self.new)
        return entrusting.ask(node, Reader(node.journal), numbers, on)

    def entrusted(self, request, log):
        """Return the hub's answer to a request, by what has come of the node."""
        named = {name: [row for row in log.records if row[0] == f"{name}.{self.old.code}"] for name in TOPICS}
        raw, heads = ([value for _, _, value in named[name]] for name in ("raw", "heads"))
        keys = (Blob.of([key for _, key, _ in named["keys"]]), Blob.of([value or b"" for _, _, value in named["keys"]]))
        evidence = Evidence(self.old.code, raw, heads, self.old.public)
        held = NodeKeys({self.old.region: [self.pair[1]]})
        held.read(*keys)
        return hub.entrust(evidence, request, held.keyring)

    def take(self, text):
        node = nodes.load(self.new)
        with Journal(node.journal) as journal:
            return entrusting.take(node, journal, text)

    def repacked(self, **changed):
        """Change parts of the package."""
        with zipfile.ZipFile(self.package) as file:
            parts = {name: file.read(name) for name in file.namelist()}
        parts |= {name: change(parts.get(name, b"")) for name, change in changed.items()}
        with zipfile.ZipFile(self.package, "w") as file:
            for name, data in parts.items():
                file.writestr(name, data)

    def _put(self, name, text):
        (self.stick / name).write_text(text)

    def _get(self, name):
        return (self.stick / name).read_text()


STEPS = ("offer", "accept", "close", "open")
TOPICS = ("raw", "keys", "heads")


def handing(folder):
    """Return a node with three incidents by consent (events 1 to 3), one that is public (4), a pattern (5), and event 1 amended (6)."""
    pair = seal.region_pair()
    old = nodes.create(folder / "old" / "MONUSCO", "MONUSCO", "great-lakes", pair[0])
    report(old, 3, **CONSENT)
    report(old, 1, **PUBLIC)
    with Journal(old.journal) as journal, Recorder(old, journal) as recorder:
        recorder.record("PatternObserved", {"pattern": PATTERN})
    amend(old, 1, women=2)
    (stick := folder / "stick").mkdir()
    return Handing(old, folder / "new" / "MONUSCO", stick, pair)


def amend(node, number, **changes):
    with Journal(node.journal) as journal:
        return revising.amend(node, journal, number, changes)


def records(node):
    """Return whether a node records a further event, as of now; record none."""
    with Journal(node.journal) as journal:
        try:
            Recorder(node, journal)
        except BadInput:
            return False
    return True


def send(node, log):
    """Send all that a node has to a broker that keeps it."""
    syncing._send(node, syncing.sent.read(node), log, lambda _: None)
    return log


def events(node):
    return [entry.envelope for entry in Reader(node.journal).read()]


__all__ = ["CONSENT", "INCIDENT", "PUBLIC", "TO", "Handing", "Log", "amend", "events", "handing", "records", "send"]
