"""python3 -m ipet COMMAND: what is done with runs beside training them.

Light on purpose: a command's module, and torch with it, is imported once its flags are read.
"""

import signal
import sys

import ipet
from ipet.commands_of_adapters import doctor, embed, export, inspect, migrate, predict, push, serve, verify
from ipet.commands_of_runs import compare, report, reproduce, rerun, sweep
from ipet.openmp import limit_spinning
from ipet.output_pipe import guard_output
from ipet.parsing import suggest
from ipet.printable import escaped

# Commands that take long or print as they go. The others write their files to the end.
ENDS_WITH_READER = ("predict", "serve", "sweep", "rerun", "reproduce")


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit status; where the reader of its output has gone, it ends quietly."""
    if argv is None:
        guard_output(finish=not set(sys.argv[1:2]) & set(ENDS_WITH_READER))
    return run(argv)


def run(argv: list[str] | None = None) -> int:
    """Run a command; its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: python3 -m ipet COMMAND [flags]      (COMMAND -h lists its flags)\n")
        print("\n".join(f"  {name:<9} {command.__doc__}" for name, command in COMMANDS.items()))
        print(f"\n{EXAMPLE}", end="")
        return 0 if argv else 2
    if argv[0] in ("-version", "--version"):
        print(f"ipet {ipet.__version__}")
        return 0
    if argv[0] not in COMMANDS:
        known = ", ".join(COMMANDS)
        hint = suggest(argv[0], list(COMMANDS))
        print(f"error: unknown command {argv[0]!r}{hint} (accepted: {known})", file=sys.stderr)
        return 2
    if not {"-h", "--help"} & set(argv):
        limit_spinning()
    # The end by a scheduler, or of a terminal, is as orderly as Ctrl-C; one that nohup ignores stays ignored.
    ends = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {end: signal.getsignal(end) for end in ends if signal.getsignal(end) != signal.SIG_IGN}
    for end in before:
        signal.signal(end, signal.default_int_handler)
    try:
        return COMMANDS[argv[0]](argv[1:])
    except (ValueError, OSError) as error:  # what a user can mend; anything else shows its traceback
        print(f"error: {escaped(str(error))}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package == "ipet":
            raise
        optional = package in ("gradio", "jinja2", "matplotlib", "optuna")
        where = "" if optional else "source .venv/bin/activate, which make sets up, or "
        print(f"error: {package} is not installed: {where}python3 -m pip install {package}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; the same command goes on", file=sys.stderr)
        return 130
    finally:
        for end, handler in before.items():
            signal.signal(end, handler)


EXAMPLE = """example:
  python3 -m ipet doctor data/drums -path_data /data/drums
"""
COMMANDS = {
    "report": report,
    "compare": compare,
    "rerun": rerun,
    "reproduce": reproduce,
    "sweep": sweep,
    "predict": predict,
    "embed": embed,
    "verify": verify,
    "serve": serve,
    "inspect": inspect,
    "push": push,
    "export": export,
    "migrate": migrate,
    "doctor": doctor,
}

if __name__ == "__main__":
    sys.exit(main())
