"""Every relative link leads somewhere, every function that the architecture names is there, the README shows the way."""

import re

import pytest

from schemas.confidence import default, parse
from tests.docs.pages import PAGES, ROOT, anchors, blocks, defined, links, name, target

README = (ROOT / "README.md").read_text()
ARCHITECTURE = ROOT / "docs" / "architecture.md"
FOLDERS = ("schemas", "quality", "streams", "sinks", "infra", "pipeline")
PACKAGES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("__init__.py"))


def relative(page):
    return [link for _, link in links(page.read_text()) if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_relative_link_leads_to_a_file_and_its_heading(page):
    for link in relative(page):
        path = page if link.startswith("#") else target(page, link)
        assert path.is_relative_to(ROOT), link
        assert path.exists(), link
        if "#" in link:
            assert link.partition("#")[2] in anchors(path), link


def test_there_are_links_to_follow():
    assert sum(len(relative(page)) for page in PAGES) > 100
    assert anchors(ROOT / "docs" / "reference" / "topics.md")[0] == "topics"


def test_every_page_is_reached_from_the_readme():
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page not in seen and page.suffix == ".md":
            seen.add(page)
            todo += [target(page, link) for link in relative(page) if not link.startswith("#")]
    assert {name(page) for page in PAGES} - {name(page) for page in seen} == set()


@pytest.mark.parametrize("page", [ARCHITECTURE, ROOT / "docs" / "guarantees.md"], ids=name)
def test_a_named_function_is_in_the_file_beside_it(page):
    checked = 0
    for label, link in links(page.read_text()):
        if label.startswith("`") and link.endswith(".py"):
            assert label.strip("`") in defined(target(page, link)), f"{label} is not in {link}"
            checked += 1
    assert checked > 30


def test_a_name_that_is_not_there_is_noticed():
    found = defined(ROOT / "streams" / "refine.py")
    assert {"Refine", "Refine.step"} <= set(found)
    assert not {"Refine.leap", "leap", "step"} & set(found)


def test_the_walk_names_the_stations_in_their_order():
    stations = ["Journal.append", "sync", "Thread.batches", "Refine.step", "Transactions.commit", "Merge.step"]
    stations += ["DeltaSink.write", "Commits.commit"]
    labels = [label.strip("`") for label, _ in links(ARCHITECTURE.read_text())]
    places = [labels.index(station) for station in stations]
    assert places == sorted(places)


@pytest.mark.parametrize("package", PACKAGES, ids=name)
def test_the_readme_says_of_a_folder_what_its_docstring_says(package):
    folder, sentence = name(package.parent), package.read_text().strip().strip('"')
    (line,) = [line for line in README.splitlines() if line.startswith(f"| [`{folder}/`]")]
    assert line == f"| [`{folder}/`]({folder}/__init__.py) | {sentence} |"


def test_the_readme_shows_the_two_commands_at_the_top_and_the_picture_of_the_way():
    first, *others = blocks(README, "sh", "text")
    assert [line.split("#")[0].strip() for line in first.splitlines()] == ["make demo", "make test"]
    picture = others[0]
    for folder in ("schemas/", "quality/", "streams/", "sinks/", "pipeline/node", "pipeline/hub"):
        assert folder in picture, folder
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {word for page in PAGES for word in re.findall(r"`make ([a-z]+)`", page.read_text())}
    assert {"demo", "test"} <= named | {"demo", "test"} <= set(targets)
    assert named <= set(targets)


def test_the_change_log_has_its_next_version_on_top():
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"


def test_decisions_are_numbered_and_short():
    found = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [path.name[:3] for path in found] == [f"{number:03}" for number in range(1, len(found) + 1)]
    for path in found:
        text = path.read_text()
        assert text.startswith(f"# {path.name[:3]} · "), path.name
        assert len(text.splitlines()) <= 14, path.name


def test_the_scale_of_confidence_that_is_shown_is_the_default():
    (shown,) = blocks((ROOT / "docs" / "reading-tables.md").read_text(), "toml")
    assert parse(shown, "shown") == default()


def test_every_data_set_is_cited():
    sources = (ROOT / "docs" / "sources.md").read_text()
    files = [path.name for path in (ROOT / "schemas" / "data").iterdir() if path.suffix in {".csv", ".json"}]
    lists = [path.name for path in (ROOT / "schemas" / "codes").glob("*.csv")]
    told = sources + (ROOT / "schemas" / "codes" / "SOURCES.md").read_text()
    assert {each for each in files if f"`{each}`" not in sources} == set()
    assert {each for each in lists if f"`{each}`" not in told} == set()


def test_the_output_that_the_readme_shows_is_that_of_the_demonstration():
    (output,) = blocks(README, "console")
    demo = (ROOT / "tests" / "demo.py").read_text()
    steps = [line.removeprefix("▸ ") for line in output.splitlines() if line.startswith("▸ ")]
    assert len(steps) >= 6
    assert [step for step in steps if f'step("{step}")' not in demo] == []
    assert [demo.index(step) for step in steps] == sorted(demo.index(step) for step in steps)
