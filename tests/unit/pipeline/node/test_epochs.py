import shutil
from types import SimpleNamespace

import pytest
from kafka.errors import KafkaTimeoutError

from pipeline.node import epochs, keys, sent
from pipeline.node import node as nodes
from pipeline.node.journal import Reader
from pipeline.node.sent import OlderThanSent, Sent
from tests.unit.pipeline.node.test_renewing import hub_of, other_epoch, readable, record, refs, renew
from tests.unit.pipeline.node.test_renewing import sent as sent_by


class Topic:
    """A consumer of a topic that holds these keys and values; what `hidden` says was compacted away."""

    def __init__(self, *records, hidden=(), given=None):
        self.records, self.hidden, self.at = records, hidden, None
        self.left = len(records) if given is None else given

    def assign(self, places):
        [self.place] = places

    def end_offsets(self, places):
        return dict.fromkeys(places, len(self.records))

    def beginning_offsets(self, places):
        return dict.fromkeys(places, 0)

    def seek(self, place, offset):
        assert place == self.place
        self.at = offset

    def position(self, place):
        return self.at

    def poll(self, timeout_ms):
        if self.left <= 0 or self.at >= len(self.records):
            return {}
        at, self.at, self.left = self.at, self.at + 1, self.left - 1
        key, value = self.records[at]
        return {} if at in self.hidden else {self.place: [SimpleNamespace(key=key, value=value or None)]}


def newest(node, *records, **options):
    return epochs.newest(node, Topic(*records, **options), 0.2)


def test_the_newest_epoch_is_the_one_whose_key_came_since_the_last_sync(node):
    [first, *_] = sent_by(node)
    records = [first, keys.end_of_epoch(7), (b"r" * 16, b"a case"), (b"epoch:", b"none"), (b"epoch:4x", b"none")]
    assert newest(node) == 0
    assert newest(node, *records) == 1
    assert newest(node, *records, (b"epoch:3", b"sealed"), (b"epoch:2", b"sealed")) == 3
    assert newest(node, *records, (b"epoch:3", b"sealed"), (b"r" * 16, b"x"), hidden=[0, 2]) == 3
    sent.write(node, Sent(keys_end=1))
    assert newest(node, *records) == 0
    sent.write(node, Sent(keys_end=99))
    assert newest(node, *records) == 0


def test_a_broker_that_gives_nothing_more_is_told(node):
    with pytest.raises(KafkaTimeoutError):
        newest(node, (b"epoch:1", b"sealed"), (b"epoch:2", b"sealed"), given=1)


def test_what_is_to_be_sent_of_epochs_that_did_not_open_here_is_doubtful(node, pair):
    def doubtful(node, position):
        reader = Reader(node.journal)
        return epochs.doubtful(node, reader, (key for _, key, _ in reader.key_records(position)))

    assert doubtful(node, 0) == set()
    other_epoch(node, 5, 1)
    at = Reader(node.journal).mark.keys
    renew(node, pair[0])
    node = nodes.load(node.folder)
    (node.folder / "epoch-5.key").write_text("00" * 32)  # of an offer that came to nothing, or damaged
    assert doubtful(node, 0) == {5}
    assert doubtful(node, at) == set()
    (node.folder / "epoch-6.key").unlink()  # a copy that was put back without it: the hub seals this one, too
    assert doubtful(node, at) == {6}


def test_which_epochs_have_a_key_in_the_topic(node):
    def living(*records):
        return epochs.living(node, Topic(*records), 0.2)

    assert living() == set()
    assert living((b"epoch:5", b"sealed"), (b"r" * 16, b"a case"), (b"epoch:6", b"sealed")) == {5, 6}
    assert living((b"epoch:5", b"sealed"), keys.end_of_epoch(5)) == set()


def test_what_the_journal_knows_of_its_epochs(node, pair):
    other_epoch(node, 5, 1)
    renew(node, pair[0])
    assert epochs.known(Reader(node.journal)) == {1: False, 5: True, 6: True}


@pytest.fixture
def put_back(node, pair, tmp_path):
    """An old copy of a node with three cases that has renewed since; and what was sent of its keys until now."""
    record(node, 3)
    copy = nodes.load(shutil.copytree(node.folder, tmp_path / "copy"))
    before = sent_by(node)
    at = Reader(node.journal).mark.keys
    renew(node, pair[0])
    return copy, [*before, *sent_by(node, at)]


def test_an_old_copy_of_the_keys_is_refused_and_a_new_epoch_of_it_goes_beyond_what_was_sent(put_back, pair):
    copy, came = put_back
    hub, living = hub_of(came, pair[1]), set(refs(copy))
    assert hub.opens() == living
    with pytest.raises(OlderThanSent, match="are of epoch 1, but 2 was sent: an old copy was put back"):
        epochs.check(copy, newest(copy, *came))
    record(copy)
    at = Reader(copy.journal).mark.keys
    done = renew(copy, pair[0])
    assert (done.epoch, done.ended) == (3, [1, 2])
    epochs.check(copy, newest(copy, *came))
    for one in sent_by(copy, at):
        hub.tell(one)
        assert hub.opens() >= living
    assert hub.opens() == set(refs(copy))
    assert readable(copy) == {1, 2, 3, 4}


def test_where_a_case_of_the_copy_does_not_open_the_epoch_that_was_sent_goes_on(put_back, pair):
    copy, came = put_back
    (copy.folder / "epoch-1.key").unlink()
    with pytest.raises(OlderThanSent):
        epochs.check(copy, newest(copy, *came))
    at = Reader(copy.journal).mark.keys
    assert renew(copy, pair[0]).kept == {1: 3}
    assert hub_of([*came, *sent_by(copy, at)], pair[1]).opens() == set(refs(copy))


def test_a_folder_that_knows_as_much_as_was_sent_is_not_refused(put_back, pair):
    copy, came = put_back
    epochs.check(copy, 1)
    renew(copy, pair[0])
    epochs.check(copy, newest(copy, *came))
    assert sent.read(copy).epoch == 0
