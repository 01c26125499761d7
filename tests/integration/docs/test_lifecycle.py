import pytest

from tests.integration.docs.lifecycle import PAGE, World, walk

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_every_command_prints_and_every_table_shows_what_the_page_says(tmp_path):
    world = World(tmp_path)
    try:
        for said, found in walk(world, PAGE.read_text()):
            assert found == said
    finally:
        world.whole.down()
