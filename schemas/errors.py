"""Every error of tocsin; whether to stop, retry or quarantine is in its type.

TocsinError
├── Stops        the command or worker must end: a person has to act
│   ├── BadInput            a file or argument that the command cannot use
│   ├── NotSetUp            something has to be run first; the message names the command
│   └── LedgerGap           a ledger or table does not abut: data would be lost or doubled
├── Retries      a passing fault: drop the connection, begin again in the stated order
│   ├── Fenced              another worker owns this partition now
│   └── Unreachable         the broker or the object store does not answer
└── Quarantines  this one record is refused, with its reason; its neighbours are not hurt

Each message is one sentence or two and says what to do next. A module that needs a finer error
derives it from one of the three mix-ins beside the code that raises it.
"""


class TocsinError(Exception):
    """The root: `except TocsinError` catches everything that tocsin raises on purpose."""

    exit_code = 70


class Stops(TocsinError):
    """End here; `exit_code` is the process's exit status (sysexits: 65 data, 69 service, 78 config)."""

    exit_code = 78


class Retries(TocsinError):
    """Abort what is open, drop every client, leave the process; the supervisor begins anew."""

    exit_code = 75


class Quarantines(TocsinError):
    """Refuse one record; `reason` is the code that goes to quarantine, e.g. `avro.varint_too_long`."""

    exit_code = 65

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(message or reason)
        self.reason = reason


class BadInput(Stops):
    """A file or an argument that the command cannot use."""

    exit_code = 65


class NotSetUp(Stops):
    """Something must be run before; the message names the command."""


class LedgerGap(Stops):
    """A range does not start where the one before ended: stop before anything is lost or doubled."""

    exit_code = 70


class Fenced(Retries):
    """Another worker owns the partition; everything held here is stale."""


class NotSaved(Retries):
    """The disk refused a snapshot; the state stays in the ledger, and only the next start takes longer."""


class Unreachable(Retries):
    """The broker or the object store does not answer."""

    exit_code = 69


class CutWhileRead(Retries):
    """Records of `topics` were deleted before they were read; whoever folds them begins anew."""

    def __init__(self, topics: list[str]) -> None:
        super().__init__(
            f"{', '.join(topics)} was cut while it was read, as `tocsin forget run` does; nothing is lost: run this again."
        )
        self.topics = topics
