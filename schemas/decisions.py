"""What a hub has decided about a node's case: sealed for whoever can open the case, signed by the hub; both sides read it here.

In clear are node, hub, the decision's id and the reference of the case, and no fact. The body is sealed under the key of the
case, as that of an event whose id is the decision's and whose number is 0: so who can't open the case can make no decision,
and forgetting the case forgets it too. All of it is signed as a page of fates is (Ed25519, RFC 8032).
"""

import hashlib
import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas import notes, rows, seal, signed
from schemas.errors import BadInput, Quarantines
from schemas.fates import BadFates
from schemas.limits import NODE
from schemas.released import by_fingerprint, latest
from schemas.signing import public_of
from schemas.wire import unframe

ID = 16
NUMBER = 0  # no event has it: no nonce is used twice under the key of a case
VERIFIER = 8
GIVEN, VERIFICATION = "DecisionGiven", "VerificationDecided"


@dataclass(frozen=True)
class Decided:
    """A decision: `body` is sealed, `body_schema` the fingerprint of its contract, `hub` the key under whose name it is signed."""

    node: str
    hub: notes.Key
    decision_id: bytes
    case_ref: bytes
    body_schema: bytes
    body: bytes = field(repr=False)

    def sign(self, seed: bytes) -> bytes:
        """Return the record of the decision for `fates.<node>`; `seed` is the secret one of its hub."""
        assert public_of(seed) == self.hub.public, "a decision is signed by the hub that it names"
        named = {name: getattr(self, name) for name in ("node", "decision_id", "case_ref", "body_schema", "body")}
        return signed.write(GIVEN, named | {"hub": self.hub.name, "signer": self.hub.public}, seed)

    def open(self, key: bytes) -> dict[str, Any]:
        """Return what was decided, a row of VerificationDecided, by the key of the case.

        Quarantines where it does not open (`seal.broken`), or is of a contract that is not known or not read here.
        """
        release = by_fingerprint(self.body_schema)
        if release.name != VERIFICATION:
            raise BadFates("fates.malformed", f"{release.name} is no decision that can be recorded")
        opened: dict[str, Any] = rows.read(release, seal.open_body(key, **_bound(self), body=self.body))
        return opened


def decided(node: str, hub: notes.Key, case_ref: bytes, key: bytes, body: Mapping[str, Any]) -> Decided:
    """Return a new decision about a case: a row of VerificationDecided, sealed under the key of the case."""
    release = latest(VERIFICATION)
    blank = Decided(node, hub, os.urandom(ID), case_ref, release.fingerprint, b"")
    sealed = seal.seal_body(key, **_bound(blank), body=rows.write(release, body))
    return Decided(node, hub, blank.decision_id, case_ref, release.fingerprint, sealed)


def is_decision(record: bytes) -> bool:
    """Return whether a record of `fates.<node>` is framed as a decision."""
    try:
        return unframe(record)[0].name == GIVEN
    except Quarantines:
        return False


def read_decision(record: bytes) -> Decided:
    """Return the decision in a record, signed by the hub that it names.

    BadFates, by the reasons of a page: `fates.malformed`, `fates.signature`.
    """
    try:
        release, body = unframe(record)
        row = rows.read(release, body)
        hub = notes.Key(row["hub"], notes.ED25519, row["signer"])
    except (Quarantines, KeyError, TypeError) as error:
        raise BadFates("fates.malformed", f"a record is no decision ({type(error).__name__})") from error
    if release.name != GIVEN or not NODE.fullmatch(row["node"]) or not notes.NAME.fullmatch(hub.name):
        raise BadFates("fates.malformed", "a record is no decision of a hub for a node")
    if not signed.good(release, body, hub.public):
        raise BadFates("fates.signature", "a decision is not signed by the key that it names")
    return Decided(row["node"], hub, row["decision_id"], row["case_ref"], row["body_schema"], row["body"])


def verifier(key: bytes, who: str) -> bytes:
    """Return the digest of a person (8 bytes) under a secret: it says nothing to who has not the secret. BadInput for nobody."""
    name = unicodedata.normalize("NFC", who).casefold().strip()
    if not name:
        raise BadInput("Say by --by who examined it: the name does not leave this machine, nor is it kept.")
    return hashlib.blake2b(name.encode(), digest_size=VERIFIER, key=key, person=b"tocsin.verifier").digest()


def _bound(decision: Decided) -> dict[str, Any]:
    """Return what the seal binds."""
    return {
        "body_schema": decision.body_schema,
        "event_id": decision.decision_id,
        "case_ref": decision.case_ref,
        "sequence": NUMBER,
        "node": decision.node,
    }
