"""The hub as custodian: it gives a node's new team the keys of cases whose survivors have consented that it goes on with them."""

from dataclasses import dataclass

import numpy as np

from pipeline.hub.proof import Evidence, examine
from pipeline.hub.signers import Handover
from schemas import entrusting
from schemas.errors import BadInput
from schemas.keyring import REF, Keyring


@dataclass(frozen=True)
class Answer:
    """The text to give back, how many cases' keys are in it, and how many cases are gone: withdrawn, or not of this node.

    `to` is the handover by which the new team has the node.
    """

    text: str
    given: int
    gone: int
    to: Handover


def entrust(evidence: Evidence, request: str, keyring: Keyring) -> Answer:
    """Return the keys that a request asks for, sealed for who signs for the node now; `keyring` has those of its cases.

    BadInput where nobody has taken the node over, somebody else has asked, or its log is not as it was signed up to there.
    """
    verdict = examine(evidence)
    if not verdict.handovers:
        raise BadInput(
            f"{evidence.node} was not handed over, as far as has come here: its new team runs `tocsin node sync` first."
        )
    last = verdict.handovers[-1]
    if any(one.sequence <= last.sequence and one.kind != "forked" for one in verdict.findings):
        raise BadInput(
            f"The log of {evidence.node} is not as it was signed before it was handed over by event {last.sequence}: "
            f"`tocsin verify {evidence.node}` names what is wrong. No key was given."
        )
    wanted = entrusting.requested(request, evidence.node, last.signer)
    refs = list(wanted)
    rows = keyring.find(np.frombuffer(b"".join(refs), np.uint8).reshape(-1, REF))
    found = {ref: keyring.keys[row].tobytes() for ref, row in zip(refs, rows.tolist(), strict=True) if row >= 0}
    gone = [ref for ref in refs if ref not in found]
    text = entrusting.sealed_keys(evidence.node, request, found, last.receives, gone)
    return Answer(text, len(found), len(gone), last)
