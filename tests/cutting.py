"""A ledger that is cut behind bases, as `tocsin forget run` does it, and nothing else erased."""

from dataclasses import replace

from infra.erasing import Erasing
from infra.table import table
from pipeline.erasure.ledgers import Bases, topic_of
from streams import ledger


def cut(kafka, stage):
    """Have a stage's ledger cut: each of its lanes writes a base, and what lies before is deleted."""
    (topic,) = [one for one in table() if one.name == "ledger.merge"]
    hand, bases = Erasing(kafka), Bases(kafka, stage)
    try:
        assert hand.cut(replace(topic, name=topic_of(stage)), ledger.ASK, bases.ends) is None
    finally:
        bases.close()
        hand.close()
