import base64

import pytest

from schemas import notes, signing
from schemas.errors import BadInput

# The example in the documentation of Go's golang.org/x/mod/sumdb/note, which C2SP's signed notes are.
KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
SEED = bytes(range(32))
POINT = notes.Point("hub/raw.MONUSCO", 7, bytes(31) + b"\x01")
SIGNER = notes.Key("hub", notes.ED25519, signing.public_of(SEED))
WITNESS = notes.Key("witness", notes.COSIGNATURE, signing.public_of(SEED))


def note():
    return f"{POINT}\n{notes.signature(str(POINT), 'hub', SEED)}{notes.cosignature(str(POINT), 'witness', SEED, 1_700_000_000)}"


def test_a_published_note_is_signed_by_its_key():
    key = notes.key(KEY)
    assert str(key) == KEY
    assert notes.signed(NOTE, key)
    assert not notes.signed(NOTE.replace("answer", "Answer"), key)


def test_a_checkpoint_comes_back_and_both_have_signed_it():
    assert notes.point(note()) == POINT
    assert notes.key(str(WITNESS)) == WITNESS
    assert notes.signed(note(), SIGNER)
    assert notes.signed(note(), WITNESS)


@pytest.mark.parametrize("change", [("\n7\n", "\n8\n"), ("MONUSCO", "MINUSCA"), ("hub/", "Hub/")])
def test_another_text_is_signed_by_nobody(change):
    changed = note().replace(*change, 1)
    assert not notes.signed(changed, SIGNER)
    assert not notes.signed(changed, WITNESS)


def test_a_cosignature_binds_its_time_and_is_no_signature_of_another_kind():
    line = notes.cosignature(str(POINT), "witness", SEED, 5)
    other = notes.cosignature(str(POINT), "witness", SEED, 6)
    assert line != other
    assert not notes.signed(f"{POINT}\n{line}", notes.Key("witness", notes.ED25519, WITNESS.public))


@pytest.mark.parametrize(
    "word", ["", "a", "a+b+c", KEY[:-1], KEY.replace("c74f", "c74e"), "x" + KEY, KEY.replace("AR", "BR")]
)
def test_what_is_no_key_is_told(word):
    with pytest.raises(BadInput, match="give the whole word"):
        notes.key(word)


@pytest.mark.parametrize(
    "text", ["", "a\n7", "a\n07\nAAAA\n", "\n7\n" + "A" * 44, "a\n-1\nAAAA\n", str(POINT).replace("7", "x")]
)
def test_what_is_no_checkpoint_is_told(text):
    with pytest.raises(BadInput, match="no checkpoint"):
        notes.point(text)


@pytest.mark.parametrize("text", ["", "text", "text\n\n", "text\n\nno signature\n", "text\n— name c2ln\n"])
def test_what_is_no_note_is_told(text):
    with pytest.raises(BadInput, match="no signed note"):
        notes.parts(text)


def test_a_longer_signature_that_holds_the_beginning_of_the_text_signs_nothing():
    text, line = str(POINT), notes.signature(str(POINT), "hub", SEED)
    blob = base64.b64decode(line.split(" ")[2])
    moved = base64.b64encode(blob + text[:4].encode()).decode()
    assert not notes.signed(f"{text[4:]}\n{notes.DASH} hub {moved}\n", SIGNER)
