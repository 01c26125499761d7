"""Every command that a page shows exists, with the options that it shows."""

import re
import shlex

import click
import pytest

from pipeline.cli.app import cli
from tests.docs.pages import PAGES, ROOT, blocks, name, prose

WRITTEN = [page for page in PAGES if "reference" not in page.parts]
INLINE = re.compile(r"`tocsin( [^`]*)?`")


def found(words):
    """The command that the words name, and the words after it."""
    command, context = cli, click.Context(cli, info_name="tocsin")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        below = command.get_command(context, words[0])
        if below is None:
            raise click.UsageError(f"no command {words[0]!r}")
        command, context, words = below, click.Context(below, info_name=words[0], parent=context), words[1:]
    return command, context, words


def mentioned(text):
    """Raise UsageError unless the command exists and knows its options; arguments may be left out."""
    command, context, words = found(shlex.split(text))
    _, left, _ = command.make_parser(context).parse_args(args=words)
    if left:
        raise click.UsageError(f"too many arguments: {left}")


def shown(text):
    """Raise UsageError unless the command could be run as it stands."""
    command, context, words = found(shlex.split(text, comments=True))
    command.make_context(context.info_name, words, parent=context.parent)


def lines(page):
    """The lines of a page's blocks of shell that call tocsin."""
    for block in blocks(page.read_text(), "sh", "console"):
        for line in block.splitlines():
            if line.removeprefix("$ ").startswith("tocsin "):
                yield re.split(r"\s[|>&]", line.removeprefix("$ "))[0]


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_a_command_in_a_sentence_exists(page):
    for arguments in INLINE.findall(prose(page.read_text())):
        mentioned(arguments)


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_a_command_in_a_block_could_be_run(page):
    for line in lines(page):
        shown(line.removeprefix("tocsin"))


def test_commands_are_shown():
    assert sum(len(list(lines(page))) for page in WRITTEN) > 10
    node = list(lines(ROOT / "docs" / "node.md"))
    assert {line.split()[2] for line in node if line.startswith("tocsin node")} == {
        "init",
        "handover",
        "import",
        "amend",
        "verify",
        "grant",
        "refer",
        "retract",
        "case",
        "withdraw",
        "corroborate",
        "dispute",
        "take-back",
        "renew",
        "retention",
        "sync",
        "status",
        "fates",
        "transfer",
    }


@pytest.mark.parametrize(
    "text", ["fly", "node fly", "up --fast", "node import --nearly", "hub summary sahel lake-chad", "why"]
)
def test_what_does_not_exist_is_noticed(text):
    with pytest.raises(click.UsageError):
        shown(text)
    if text != "why":
        with pytest.raises(click.UsageError):
            mentioned(text)
