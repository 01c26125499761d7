"""Cases are withdrawn while a node goes on sending and workers are killed: nothing is left of them, and each store has signed.

The seconds that it takes are measured by `python -m tests.chaos.forgetting`, with 200 cases: docs/erasure.md.
"""

import pytest

from tests.chaos.forgetting import STORES, Fire

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
CASES = 20


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return Fire(tmp_path_factory.mktemp("fire") / "data", CASES, syncs=2).run()


def test_before_each_case_lay_in_eight_stores_or_more(result):
    assert len(result.stores) == CASES
    assert min(result.stores) >= STORES


def test_it_was_worth_it(result):
    assert sum(result.kills.values()) >= 5
    assert len(result.kills) >= 2
    assert result.load >= 200


def test_no_byte_of_a_case_is_left_and_no_key_opens_it(result):
    assert len(result.unreadable) == len(result.gone) == CASES
    assert result.left == {}


def test_each_store_has_signed_for_each_case(result):
    assert result.unsigned == 0
