"""The command line: parse, call, print. A user's mistake is one line on stderr and exit status 2."""

import sys
from collections.abc import Callable

import typer

from airtune.commandline.comparisons import compare, sweep
from airtune.commandline.plans import plan
from airtune.commandline.preparing import fetch, init, profile
from airtune.commandline.results import calibrate, report, trace
from airtune.commandline.runs import node, on_testbed, run
from airtune.errors import AirtuneError
from airtune.version import __version__

INTERRUPTED = 130  # what shells expect after Ctrl-C

app = typer.Typer(
    help="Fast federated fine-tuning of large language models over wireless networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def version() -> None:
    """Print the version."""
    print(__version__)


# In the order in which `airtune --help` lists them.
COMMANDS: dict[str, Callable[..., None]] = {
    "init": init,
    "fetch": fetch,
    "plan": plan,
    "run": run,
    "node": node,
    "testbed": on_testbed,
    "compare": compare,
    "sweep": sweep,
    "profile": profile,
    "report": report,
    "trace": trace,
    "calibrate": calibrate,
    "version": version,
}
for name, command in COMMANDS.items():
    app.command(name)(command)


def main() -> None:
    """Entry point."""
    try:
        app(standalone_mode=True)
    except AirtuneError as error:
        print("airtune:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer ends so, without a word
            print("airtune: interrupted", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
