import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.partition import murmur2, partition_of, partitions

# Apache Kafka's own: clients/src/test/java/org/apache/kafka/common/utils/UtilsTest.java, testMurmur2.
KAFKA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "expected"), KAFKA.items(), ids=[key.decode()[:8] for key in KAFKA])
def test_murmur2_is_kafkas(key, expected):
    assert murmur2(key) == expected % (1 << 32)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1), st.integers(1, 64))
def test_the_kernel_places_keys_as_its_twin(keys, count):
    bounds = np.concatenate(([0], np.cumsum([len(key) for key in keys])))
    spans = np.stack([bounds[:-1], bounds[1:]], axis=1)
    data = np.frombuffer(bytearray(b"".join(keys)), np.uint8)
    assert partitions(data, spans, count).tolist() == [partition_of(key, count) for key in keys]
