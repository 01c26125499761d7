import pytest

from infra.table import every
from infra.topics import TopicDiffers
from pipeline.partitions import refuse

RIGHT = {topic.name: topic.partitions for topic in every(["SYN-1"])}


def test_topics_as_the_table_states_them_are_well():
    refuse(RIGHT | {"somebody-elses": 12, "__consumer_offsets": 50})
    refuse({})


@pytest.mark.parametrize(
    ("name", "count"),
    [("accepted", 2), ("accepted", 5), ("ledger.refine", 1), ("raw.SYN-1", 2), ("hub.sahel", 3), ("receipts.SYN-1", 2)],
)
def test_another_number_of_partitions_is_refused_and_says_what_to_do(name, count):
    with pytest.raises(TopicDiffers, match=f"Topic {name} has {count} partitions .* stop all workers, and restore"):
        refuse(RIGHT | {name: count})
