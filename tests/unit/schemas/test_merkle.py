"""Roots against the published vectors of Certificate Transparency; proofs for every pair of sizes up to 40."""

import pytest

from schemas import merkle
from schemas.chain import leaf

# The leaves and the root over all eight are those of the tests of Certificate Transparency (github.com/google/certificate-transparency,
# cpp/merkletree/merkle_tree_test.cc, 2013; Apache 2.0); the roots over none and one are in RFC 9162's terms.
VECTORS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}
LEAVES = [leaf(b"%d" % number) for number in range(40)]
SIZES = [(before, size) for size in range(1, 41) for before in range(1, size + 1)]


@pytest.mark.parametrize(("size", "root"), ROOTS.items())
def test_roots_are_the_published_ones(size, root):
    assert merkle.root([leaf(bytes.fromhex(each)) for each in VECTORS[:size]]).hex() == root


def shown(before, size):
    return (before, size), (merkle.root(LEAVES[:before]), merkle.root(LEAVES[:size]))


def test_what_has_grown_is_proved():
    assert all(merkle.has_grown(*shown(*sizes), merkle.grown(LEAVES[: sizes[1]], sizes[0])) for sizes in SIZES)


def test_a_proof_with_another_hash_proves_nothing():
    for before, size in SIZES:
        proof = merkle.grown(LEAVES[:size], before)
        for at in range(len(proof)):
            assert not merkle.has_grown(*shown(before, size), [*proof[:at], bytes(32), *proof[at + 1 :]])
        assert not merkle.has_grown(*shown(before, size), [*proof, bytes(32)])


def test_a_log_that_was_rewritten_or_cut_has_not_grown():
    for before, size in SIZES:
        sizes, (_, new) = shown(before, size)
        other = merkle.root([leaf(b"other"), *LEAVES[1:before]])
        assert not merkle.has_grown(sizes, (other, new), merkle.grown(LEAVES[:size], before))
        if before < size:
            assert not merkle.has_grown((size, before), (new, other), merkle.grown(LEAVES[:size], before))
            assert not merkle.has_grown(*shown(before, size), [])


def test_everything_grows_from_nothing():
    assert merkle.has_grown((0, 7), (merkle.EMPTY, merkle.root(LEAVES[:7])), [])
    assert not merkle.has_grown((0, 7), (merkle.EMPTY, merkle.root(LEAVES[:7])), [bytes(32)])
