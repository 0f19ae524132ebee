"""Grammar: the verbs of `smppgate ctl` and their arguments, in one table for both sides.

The client reads a command line by it, the daemon checks a request by it: who talks to the socket
without our client is held to the same rules. What a verb does is in `verbs`, one module a noun.

It imports nothing of the daemon, so that `ctl` starts as fast as Python does.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

YES: Final = 0
NO: Final = 1
USAGE: Final = 2
NO_DAEMON: Final = 3
"""Exit codes of `ctl` (and `exit` in an answer, but for the last)."""

LEVELS: Final = ("debug", "info", "warning", "error")
PARKED_STATES: Final = ("held", "in_doubt")

LIMIT: Final = 20
"""Rows of a list that `queue` shows when nobody says how many."""

LIMIT_MAX: Final = 10_000
"""Rows that it looks at in any case: about 50 ms, during which nothing else happens."""

Kind = Literal["text", "texts", "number", "flag", "file"]
"""`texts` is any number of them; a `file` is named on the command line, its text is sent."""


class Argument(NamedTuple):
    """One argument. A flag or a number is an option, and so is a text with `choices` or `option`."""

    name: str
    kind: Kind
    help: str
    required: bool = False
    option: bool = False
    choices: tuple[str, ...] = ()


class Verb(NamedTuple):
    """What may be asked. `slow`: no time-out on the answer."""

    name: str
    help: str
    arguments: tuple[Argument, ...] = ()
    slow: bool = False


_WHICH: Final = (
    Argument("ids", "texts", "ids of messages"),
    Argument("all", "flag", "all that are held or in doubt"),
    Argument("state", "text", "with --all: only these", option=True, choices=PARKED_STATES),
    Argument("campaign", "text", "with --all: only of this campaign", option=True),
)

VERBS: Final = (
    Verb("status", "whether all is well: binds, rates, queue, commits, room, warnings"),
    Verb(
        "registry import",
        "take up companies, brands, campaigns and numbers: all of the file or nothing",
        (
            Argument("file", "file", "a registry file (TOML); - is standard input", required=True),
            Argument("dry_run", "flag", "only say what would change"),
            Argument("prune", "flag", "remove what the file does not name"),
        ),
        slow=True,
    ),
    Verb("registry export", "the registry as a file that can be imported", slow=True),
    Verb(
        "carrier",
        "sessions, windows, rates and errors of the carriers",
        (Argument("name", "text", "only this one"),),
    ),
    Verb(
        "carrier rebind",
        "end the sessions with a carrier, and bind again at once",
        (Argument("name", "text", "the carrier", required=True),),
    ),
    Verb(
        "client",
        "who is bound, from where, how fast, and what was refused",
        (Argument("name", "text", "only this one"),),
    ),
    Verb(
        "client kick",
        "end the sessions of a client; it may bind again",
        (Argument("name", "text", "the client", required=True),),
    ),
    Verb(
        "campaign",
        "limits and their use, what is queued, and the first thing that blocks sending",
        (Argument("id", "text", "only this one, in detail"),),
    ),
    Verb(
        "queue",
        "depth and oldest age by lane and state; what is held or in doubt",
        (Argument("limit", "number", f"rows of each list (not given: {LIMIT})"),),
    ),
    Verb(
        "queue release",
        "put messages that are held or in doubt back into their lanes",
        _WHICH,
        slow=True,
    ),
    Verb("queue expire", "end messages that are held or in doubt", _WHICH, slow=True),
    Verb(
        "message",
        "one message: every state it went through, when, and why",
        (Argument("id", "text", "its 13 characters", required=True),),
    ),
    Verb("audit", "count every message on disk, and hold the counters against it", slow=True),
    Verb("drain", "finish what is in flight and stop, as SIGTERM does"),
    Verb(
        "loglevel",
        "log more or less, until the daemon ends",
        (Argument("level", "text", "the least that is logged", required=True, choices=LEVELS),),
    ),
    Verb("version", "the version of the daemon"),
    Verb("help", "this list"),
)

BY_NAME: Final = {verb.name: verb for verb in VERBS}


def find(words: list[str]) -> tuple[Verb, list[str]] | None:
    """The verb that a command line begins with, and the words after it; two words go first."""
    for count in (2, 1):
        verb = BY_NAME.get(" ".join(words[:count]))
        if verb is not None:
            return verb, words[count:]
    return None


def fault(verb: Verb, args: Mapping[str, Any]) -> str:
    """What is wrong with the arguments of a request; "" if nothing is."""
    known = {argument.name: argument for argument in verb.arguments}
    for name, value in args.items():
        argument = known.get(name)
        if argument is None:
            return f"{verb.name} has no argument {name!r}"
        if not _fits(argument, value):
            return f"{verb.name}: {name} {_wanted(argument)}"
    for argument in verb.arguments:
        if argument.required and argument.name not in args:
            return f"{verb.name} needs {argument.name}: {argument.help}"
    return ""


def _fits(argument: Argument, value: object) -> bool:
    match argument.kind:
        case "flag":
            return isinstance(value, bool)
        case "number":
            return isinstance(value, int) and not isinstance(value, bool) and value > 0
        case "texts":
            return isinstance(value, list) and all(isinstance(item, str) for item in value)
        case _:
            return isinstance(value, str) and (not argument.choices or value in argument.choices)


def _wanted(argument: Argument) -> str:
    match argument.kind:
        case "flag":
            return "must be true or false"
        case "number":
            return "must be a whole number above zero"
        case "texts":
            return "must be a list of texts"
        case _ if argument.choices:
            return f"must be one of {', '.join(argument.choices)}"
        case _:
            return "must be a text"
