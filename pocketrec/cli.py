"""The one command, `pocketrec`: wiring only; each sub-command is a module below `commands/`.

A sub-command is imported when it is used, so `pocketrec --help` stays fast and a phone that has
only the `edge` extra can run `pocketrec device` although TensorFlow is nowhere near.

Exit codes: 0 done, 1 failed, 2 wrong usage or bad input, 3 a gate refused.
"""

import difflib
import errno
import importlib
import io
import sys
from typing import Any

import click

from pocketrec_bundle.errors import PocketRecError

# name -> its folder below `commands/`, its line in `pocketrec --help`; in the order of data flow.
COMMANDS = {
    "init": ("model", "Look at files of tables and write a recipe for them."),
    "data": ("model", "Read, check and clean the two tables: interactions and items."),
    "features": ("model", "Write the point-in-time features of every past interaction."),
    "train": ("model", "Train the two-tower model and the ranker of a recipe."),
    "tune": ("model", "Search a recipe's settings for the best validation NDCG, resumable."),
    "evaluate": ("model", "Compare a trained run with simple baselines; write a report."),
    "compare": ("model", "Test whether one evaluation is better than another, case by case."),
    "export": ("model", "Freeze, quantize and pack a run into a bundle for the device."),
    "inspect": ("model", "Verify each file of a bundle and print its content."),
    "verify": ("model", "Test a bundle on the runtimes of this machine."),
    "bad-bundles": (
        "model",
        "Write bundles with one fault each, to test a reader in another language.",
    ),
    "keys": ("repository", "Make, check, rotate and revoke the keys that sign releases."),
    "repo": ("repository", "Create a repository of signed releases; show its changes."),
    "publish": ("repository", "Sign a bundle and publish it on a channel."),
    "refresh": ("repository", "Sign metadata again before it expires."),
    "prune": ("repository", "Remove files that no phone needs any more."),
    "rollout": ("repository", "Stage, pause, kill, roll back and halt releases."),
    "experiment": ("experiment", "Start, watch and end signed experiments on a channel."),
    "policy-value": (
        "experiment",
        "Estimate what another release, rules or weights would have earned.",
    ),
    "serve": ("server", "Run the sync server."),
    "events": ("server", "Export or count uploaded events, or erase those of one device."),
    "db": ("server", "Check or upgrade the server's database."),
    "mirror": (
        "repository",
        "Copy a repository to a folder or bucket that serves it as static files.",
    ),
    "backup": ("server", "Save a server's repository and database in one file."),
    "restore": ("server", "Restore a backup."),
    "monitor": ("server", "Report how releases do in the field, from exported events."),
    "monitoring": ("server", "Write the Grafana dashboard and the Prometheus alerts of a server."),
    "admin": ("server", "Manage operators and their tokens; show the audit log."),
    "device": ("device", "Act as a phone: sync, recommend, explain, browse, simulate."),
    "bench": ("model", "Run one benchmark and write its figures as JSON."),
}

# top-level module that may be missing -> the extra that brings it.
EXTRA_OF = {
    "ai_edge_litert": "edge",
    "tuf": "edge",
    "urllib3": "edge",
    "securesystemslib": "edge",
    "zstandard": "edge",
    "flask": "server",
    "sqlalchemy": "server",
    "alembic": "server",
    "waitress": "server",
    "prometheus_client": "server",
    "pyarrow": "events",
    "boto3": "s3",
    "psycopg": "postgres",
    "rich": "simulator",
    **dict.fromkeys(("faiss", "usearch", "hnswlib", "matplotlib"), "bench"),
    "hatchling": "dev",
    "psutil": "dev",
    **dict.fromkeys(
        (
            "duckdb",
            "ibis",
            "jinja2",
            "keras",
            "keras_rs",
            "onnx",
            "onnxruntime",
            "onnxslim",
            "optuna",
            "pandas",
            "pydantic",
            "scipy",
            "sklearn",
            "tea_tasting",
            "threadpoolctl",
            "tensorflow",
            "tf2onnx",
        ),
        "train",
    ),
}


def message_of(err: BaseException) -> tuple[str, int] | None:
    """Return the message and the exit code of an error; None for a bug of our own."""
    if isinstance(err, PocketRecError):
        return str(err), err.exit_code
    if isinstance(err, ModuleNotFoundError):
        missing = (err.name or "").partition(".")[0]
        if missing not in EXTRA_OF:
            return None
        return (
            f"this command needs {missing}, which is not installed."
            f" Install it with: pip install 'pocketrec[{EXTRA_OF[missing]}]'"
        ), 1
    if isinstance(err, OSError):
        where = f"{err.filename}: " if err.filename else ""
        if err.errno in (errno.ENOSPC, errno.EDQUOT):
            return (
                f"{where}no space left on the disk. Free some space and run the command again;"
                " what was complete before is untouched."
            ), 1
        if err.filename:
            return f"{where}{err.strerror}", 1
    return None


class LazyGroup(click.Group):
    """A group whose sub-commands are imported when they are first asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click calls it so)
        """Name the sub-commands in the order of the data flow."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import `pocketrec.commands.<folder>.<name>` and return its `command`."""
        if cmd_name not in COMMANDS:
            return None
        folder, _ = COMMANDS[cmd_name]
        name = f"pocketrec.commands.{folder}.{cmd_name.replace('-', '_')}"
        module = importlib.import_module(name)
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the sub-command; a mistyped one gets a suggestion, as click gives it below."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name, COMMANDS)
            hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the sub-commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the sub-command; expected errors end as one message and an exit code."""
        try:
            return super().invoke(ctx)
        except (PocketRecError, ModuleNotFoundError, OSError) as err:
            told = message_of(err)
            if told is None:
                raise
            message, exit_code = told
            click.echo(f"Error: {message}", err=True)
            ctx.exit(exit_code)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: pocketrec bench demo --json demo.json",
)
@click.version_option(package_name="pocketrec")
def main() -> None:
    """Build recommenders that live on the phone: train, quantize, sign, sync, serve offline."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # cp1252 of a Windows pipe lacks most letters
        sys.stdout.reconfigure(errors="backslashreplace")
