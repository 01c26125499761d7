"""Everything that is rendered from one source, in one place: `make generated` writes it, `make lint` compares it.

`python -m pipeline.generated [--check]`: exit 1 and the names of stale files if `--check` finds a difference.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

import infra.render
import quality.rules
import sinks.tables
from pipeline.cli.app import cli
from schemas import evolution
from schemas.released import releases

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- rendered by `make generated`; edit its source instead -->\n"


def rendered() -> dict[str, str]:
    """Return the text of every rendered file by its path from the root."""
    return {
        **{str(path): text for path, text in infra.render.render().items()},
        "docs/reference/tables.md": sinks.tables.render(),
        "docs/reference/rules.md": quality.rules.render(),
        "docs/reference/contracts.md": contracts(),
        "docs/reference/commands.md": commands(),
    }


def contracts() -> str:
    """Return the page of all released contracts: id, fingerprint, fields with type and meaning."""
    parts = [NOTE, "# Contracts\n\nReleased schemas, never edited, only superseded (`schemas/avro`).\n"]
    for release in releases():
        schema = release.schema
        parts.append(f"\n## {release.id} · {release.name} v{release.version}\n\n{schema.get('doc', '')}\n\n")
        parts.append(f"Fingerprint (CRC-64-AVRO): `{release.fingerprint[::-1].hex()}`\n\n")
        parts.append("| field | type | meaning |\n|---|---|---|\n")
        parts += [f"| `{f['name']}` | {type_name(f['type'])} | {f.get('doc', '')} |\n" for f in schema["fields"]]
    return "".join(parts)


def type_name(schema: object) -> str:
    """Return a short name of an Avro type: `date`, `list of Form`, `string or null`."""
    if isinstance(schema, list):
        return " or ".join(type_name(branch) for branch in sorted(schema, key=lambda b: b == "null"))
    if not isinstance(schema, dict):
        return str(schema)
    if "logicalType" in schema:
        return str(schema["logicalType"])
    if schema["type"] == "array":
        return f"list of {type_name(schema['items'])}"
    if schema["type"] == "fixed":
        return f"{schema['size']} bytes"
    if schema["type"] == "enum":
        return "one of " + ", ".join(f"`{symbol}`" for symbol in schema["symbols"])
    return str(schema.get("name", schema["type"]))


def commands() -> str:
    """Return the page of all commands, each with its own help."""
    parts = [NOTE, "# Commands\n"]
    for path, command in walk(cli, "tocsin"):
        command._help_option = None  # noqa: SLF001 -- click keeps the names that whoever asked first knew
        with click.Context(command, info_name=path, max_content_width=100, **cli.context_settings) as context:
            parts.append(f"\n## {path}\n\n```text\n{command.get_help(context).rstrip()}\n```\n")
    return "".join(parts)


def walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield the command and all below it, with their full names."""
    yield path, command
    if isinstance(command, click.Group):
        with click.Context(command, info_name=path) as context:
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                if below is not None:
                    yield from walk(below, f"{path} {name}")


def stale(texts: dict[str, str]) -> list[str]:
    """Return the paths whose file differs from what is rendered."""
    return [path for path, text in texts.items() if not (ROOT / path).is_file() or (ROOT / path).read_text() != text]


def write(texts: dict[str, str], say: Callable[[str], object]) -> None:
    """Write what differs."""
    for path in stale(texts):
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(texts[path])
        say(f"wrote {path}")


def main(arguments: list[str]) -> int:
    """Write or check; also check that no released schema was changed or broken."""
    problems = evolution.check()
    if "--check" in arguments:
        problems += [f"{path} is stale: run `make generated`" for path in stale(rendered())]
    else:
        write(rendered(), click.echo)
    for problem in problems:
        click.echo(problem, err=True)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
