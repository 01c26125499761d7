import pytest

from pipeline.cli.words import counted, listed, these


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 events"), (1, "1 event"), (2, "2 events"), (1_200, "1,200 events")]
)
def test_one_is_not_many(number, said):
    assert counted(number, "event") == said


@pytest.mark.parametrize(("number", "said"), [(1, "this case"), (2, "these 2 cases"), (1_200, "these 1,200 cases")])
def test_one_is_pointed_at_as_one(number, said):
    assert these(number, "case") == said


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ([], "none"),
        ([7], "event 7"),
        ([7, 9], "events 7, 9"),
        (range(1, 1_015), f"events {', '.join(map(str, range(1, 13)))} and 1,002 more"),
    ],
)
def test_of_many_numbers_the_first_are_said(numbers, said):
    assert listed(list(numbers)) == said
