import numpy as np

from schemas.released import releases
from streams.envelopes import _compare, _known
from streams.frames import read_only


def test_the_node_and_the_bodys_release_are_compared_byte_by_byte():
    prints = [release.fingerprint for release in releases()]
    nodes = [b"MONUSCO", b"MONUSCA", b"MONUSC", b"MONUSCOX", b""]
    pairs = [(nodes[i % 5], each) for i, each in enumerate([*prints, b"12345678", bytes(8), prints[0][::-1]])]
    data = read_only(np.frombuffer(b"".join(one + two for one, two in pairs), np.uint8))
    lengths = np.array([len(one) for one, _ in pairs], np.int64)
    starts = np.cumsum(lengths + 8) - lengths - 8
    home, schema = np.empty(len(pairs), np.bool_), np.empty(len(pairs), np.int64)
    spans = np.stack([starts, starts + lengths], axis=1)
    _compare(data, spans, np.frombuffer(nodes[0], np.uint8), starts + lengths, *_known(), home, schema)
    ids = {release.fingerprint: release.id for release in reversed(releases())}
    assert home.tolist() == [one == nodes[0] for one, _ in pairs]
    assert schema.tolist() == [ids.get(two, 0) for _, two in pairs]
