"""What became of this node's events, for its person: counts, and a sentence for each number, in the node's language."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from pipeline.node import known as kept
from pipeline.node import sent
from pipeline.node.deciding import Settled
from pipeline.node.importing import sentence_or_code
from pipeline.node.journal import Reader
from pipeline.node.node import Node
from schemas.fates import NUMBERED, Fate, read_page, runs
from schemas.tables import read

UNKNOWN, UNSENT = Fate("unknown"), Fate("unsent")


@dataclass(frozen=True)
class Overview:
    """`fates` has every number that was recorded, from 1 on: what was told, UNKNOWN where nothing was, UNSENT where it stayed here.

    `hub` is the name under which that is signed, empty where nothing was told; `sent` of the numbers were sent.
    """

    node: str
    hub: str
    sent: int
    fates: tuple[Fate, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Return how many numbers have each fate that one has."""
        return dict(Counter(fate.fate for fate in self.fates))

    @property
    def linked(self) -> int:
        """Return how many events are linked to a pattern in any region."""
        return sum(any(region.patterns for region in fate.regions) for fate in self.fates)

    @property
    def duplicates(self) -> int:
        """Return how many events are a probable duplicate in any region."""
        return sum(any(region.duplicate for region in fate.regions) for fate in self.fates)

    def runs(self, only: str = "") -> Iterator[tuple[int, int, Fate]]:
        """Yield first number, last number and fate of each run of numbers that became of alike; of one fate only, if it is given."""
        return (run for run in runs(self.fates) if only in ("", run[2].fate))


def overview(node: Node) -> Overview:
    """Return what became of all numbers that the node has recorded."""
    known, last = kept.read(node), Reader(node.journal).mark.last
    told = known.fates()
    gone = min(max(sent.read(node).events, max(told, default=0)), last)
    hub = next((read_page(record).hub.name for record in known.pages.values()), "")
    every = (told.get(number, UNKNOWN if number <= gone else UNSENT) for number in range(1, last + 1))
    return Overview(node.code, hub, gone, tuple(every))


def say(code: str, lang: str, **values: Any) -> str:
    """Return the words of a code of schemas/codes/fates.csv, retention_words.csv or transfer_words.csv, with these values in them."""
    return _words()[code][lang].format(**values)


def sentence(number: int, fate: Fate, lang: str) -> str:
    """Return what became of one number, with the reason's own sentence where it was refused."""
    words = _became(fate, lang)
    if fate.regions:
        words = say("say.regions", lang, fate=words, regions=", ".join(_regions(fate, lang)))
    if fate.forked:
        words = say("say.forked", lang, fate=words)
    kind = say(f"kind.{fate.kind}", lang) if fate.kind else ""
    said = say("say.event_of_kind" if kind else "say.event", lang, number=number, kind=kind, fate=words)
    return " ".join([said, *reasons(fate, lang)])


def reasons(fate: Fate, lang: str) -> list[str]:
    """Return the sentence of each reason for which an event was refused."""
    return [f"{code}: {sentence_or_code(code, lang)}" for code in fate.details if fate.fate == "refused"]


def not_taken(refused: Mapping[str, int], lang: str) -> list[str]:
    """Return a sentence for each reason for which pages were not taken."""
    return [
        say("say.not_taken", lang, count=count, sentence=sentence_or_code(reason, lang))
        for reason, count in sorted(refused.items())
    ]


def of_decision(settled: Settled, lang: str) -> str:
    """Return what came of a decision of the hub."""
    values = "; ".join(f"{name}={value}" for name, value in settled.set.items())
    named = {"incident": settled.incident, "event": settled.event, "values": values}
    if settled.event:
        return say("say.decided", lang, **named)
    code = "say.not_recorded" if settled.incident else "say.not_recorded_unknown"
    return say(code, lang, **named, sentence=sentence_or_code(settled.reason, lang))


def line(first: int, last: int, fate: Fate) -> dict[str, Any]:
    """Return a run as plain values."""
    return {"first": first, "last": last, **asdict(fate)}


def _became(fate: Fate, lang: str) -> str:
    numbered = fate.fate in NUMBERED and not fate.details
    code = f"say.{fate.fate}" if f"say.{fate.fate}" in _words() and not numbered else f"fate.{fate.fate}"
    return say(code, lang, numbers=", ".join(fate.details))


def _regions(fate: Fate, lang: str) -> Iterator[str]:
    """Yield the regions that have an event by their names, with its links and whether it is a probable duplicate there."""
    names = {row["code"]: row[f"name_{lang}"] for row in read("regions")}
    for region in fate.regions:
        more = [say("say.linked", lang, patterns=region.patterns)] if region.patterns else []
        more += [say("say.duplicate", lang)] if region.duplicate else []
        yield names.get(region.code, region.code) + (f" ({', '.join(more)})" if more else "")


@cache
def _words() -> dict[str, dict[str, str]]:
    return {row["code"]: row for name in ("fates", "retention_words", "transfer_words") for row in read(name)}
