"""The command `tocsin`: groups are loaded when they are called, so that help comes at once."""

import importlib
import sys

import click

from schemas.errors import TocsinError

COMMANDS = {
    "up": ("pipeline.cli.ops:up", "Start a real Kafka and a real S3 on this machine."),
    "down": ("pipeline.cli.ops:down", "Stop them; the data stays."),
    "status": ("pipeline.cli.ops:status", "Say what runs, where, and where its logs are."),
    "node": ("pipeline.cli.node:node", "A mission node: init, import, amend, verify, status, sync."),
    "worker": ("pipeline.cli.workers:worker", "Run a stream worker: refine, merge, sink or receipts."),
    "top": ("pipeline.cli.top:top", "Watch the stages: rates, lags, quarantine, silent nodes."),
    "hub": ("pipeline.cli.hub:hub", "A regional hub: summary of its tables."),
    "ledger": ("pipeline.cli.ledger:ledger", "What refine remembers: which events wait, and for what."),
    "table": ("pipeline.cli.table:table", "A region's incidents as they stood on a day: safe counts, or rows."),
    "verify": ("pipeline.cli.proofs:verify", "Say whether a node's log is whole and as it was sent."),
    "witness": ("pipeline.cli.proofs:witness", "Cosign a hub's checkpoint, for another hub."),
    "forget": ("pipeline.cli.forget:forget", "Erase for good what withdrawn cases left; who has signed for it."),
    "replay": ("pipeline.cli.replay:replay", "Make a region's tables again from the log; compare them."),
    "audit": ("pipeline.cli.quality:audit", "Check the tables by the rules; write pages that open offline."),
    "why": ("pipeline.cli.show:why", "Tell the whole story of one event."),
    "tap": ("pipeline.cli.show:tap", "Print the events of a topic in readable form."),
}


class LazyGroup(click.Group):
    """A group whose commands are named here and imported when one is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the data's way."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as missing:
            if missing.name and missing.name.split(".")[0] in {
                "schemas",
                "quality",
                "streams",
                "sinks",
                "infra",
                "pipeline",
            }:
                raise
            message = f"`tocsin {cmd_name}` needs the package {missing.name}: install the hub with `pip install 'tocsin[hub]'`."
            raise click.ClickException(message) from missing
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the list from the sentences above, without importing anything."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Examples: `tocsin up`, `tocsin node import FILE --dry-run`, `tocsin hub summary lake-chad`.",
)
@click.version_option(package_name="tocsin")
def cli() -> None:
    """Share what mission nodes monitor about conflict-related sexual violence, without exposing a survivor."""


def main() -> None:
    """Run the command; an error of ours is one sentence on stderr and its own exit code."""
    try:
        code = cli.main(prog_name="tocsin", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("tocsin: stopped by you", err=True)
        sys.exit(130)
    except TocsinError as error:
        click.echo(f"tocsin: {error}", err=True)
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)
