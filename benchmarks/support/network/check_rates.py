"""How many checks with no news one process on one core answers: two servers, one generator.

Part of `fleet`. Each server has one core to itself and the generator another, if there are two. A
check is a GET of timestamp.json: with the ETag that the server gave (304), or without (200); on
connections that stay, or on one each, as devices come. The server's share of its core says whether
it was the limit; where it is far below 1 the generator was, and the rate is a lower bound.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import urllib3

from benchmarks.harness import Cell
from benchmarks.support import command_line

CONNECTIONS = 32
PATH = "/metadata/timestamp.json"
NGINX = """
{user}
daemon off;
worker_processes 1;
pid {work}/nginx.pid;
error_log {work}/nginx.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {work}; proxy_temp_path {work}; fastcgi_temp_path {work};
    uwsgi_temp_path {work}; scgi_temp_path {work};
    types {{ application/json json; }}
    keepalive_requests 1000000000;
    server {{ listen 127.0.0.1:{port}; root {repo}; }}
}}
"""
KEPT = "kept"

Row = dict[str, Cell]


def commands(repo: Path, work: Path, port: int) -> dict[str, list[str]]:
    """Command line of each server that is installed."""
    words = ("serve", "--repo", repo, "--port", str(port), "--no-log")
    found = {
        "waitress": command_line.argv(*words),
    }
    if nginx := shutil.which("nginx"):
        user = "user root;" if os.getuid() == 0 else ""  # else its worker may not read the folder
        text = NGINX.format(user=user, work=work.resolve(), repo=repo.resolve(), port=port)
        (work / "nginx.conf").write_text(text)
        found["nginx"] = [nginx, "-c", str((work / "nginx.conf").resolve()), "-e", "stderr"]
    return found


def measure(repo: Path, work: Path, seconds: float) -> list[Row]:
    """Ask each server in each way; the whole takes 4 times `seconds` a server."""
    rows: list[Row] = []
    cores = sorted(os.sched_getaffinity(0))
    for name, command in commands(repo, work, port := command_line.free_port()).items():
        with on_core(cores[0]), running(command, work, port) as server:
            reply = urllib3.request("GET", f"http://127.0.0.1:{port}{PATH}", retries=False)
            etag = reply.headers["ETag"].removeprefix("W/").strip('"')
            for keep in (True, False):
                for status in (304, 200):
                    load = {
                        "port": port,
                        "path": PATH,
                        "etag": etag if status == 304 else "",
                        "keep": keep,
                        "connections": CONNECTIONS,
                        "seconds": seconds,
                    }
                    with on_core(cores[-1]):
                        rows.append(_row(name, load, status, server))
    return rows


def figures(rows: list[Row]) -> dict[str, float]:
    """Checks a second on kept connections answered by 304: the best server's, and each one's."""
    found = {
        f"checks_per_s_{str(row['server']).replace(' ', '_')}": float(row["checks_per_s"] or 0)
        for row in rows
        if row["connections"] == KEPT and row["status"] == 304
    }
    return {"checks_per_s": max(found.values()), **found}


def _row(name: str, load: dict[str, object], status: int, server: int) -> Row:
    before = cpu_s(server)
    words = [sys.executable, "-m", "benchmarks.support.children.load", json.dumps(load)]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True)  # noqa: S603
    found = json.loads(done.stdout)
    answers = found["statuses"]
    if set(answers) != {str(status)}:
        raise command_line.ChildFailedError(f"{name}: {status} was expected, and {answers} came.")
    return {
        "server": name,
        "connections": KEPT if load["keep"] else "one each",
        "status": status,
        "checks_per_s": answers[str(status)] / found["wall_s"],
        "p50_ms": found["p50_ms"],
        "p99_ms": found["p99_ms"],
        "server_share": (cpu_s(server) - before) / found["wall_s"],
        "generator_share": found["cpu_s"] / found["wall_s"],
    }


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Pin processes that start in the block to one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(command: list[str], work: Path, port: int) -> Iterator[int]:
    """Run a server until the block ends; its process id."""
    with (work / "server.log").open("ab") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603
        try:
            _wait_until_it_answers(child, port, log.name)
            yield child.pid
        finally:
            child.terminate()
            child.wait()


def _wait_until_it_answers(child: "subprocess.Popen[bytes]", port: int, log: str) -> None:
    end = time.monotonic() + command_line.START_S
    while time.monotonic() < end and child.poll() is None:
        try:
            reply = urllib3.request("GET", f"http://127.0.0.1:{port}{PATH}", retries=False)
        except urllib3.exceptions.HTTPError:
            time.sleep(command_line.POLL_S)
            continue
        if reply.status == 200:
            return
        break
    raise command_line.ChildFailedError(f"{child.args!r}: does not answer; see {log}.")


def cpu_s(pid: int) -> float:
    """Seconds of the processor that a process and its children have used (Linux)."""
    tick = os.sysconf("SC_CLK_TCK")
    used = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name_and_rest = path.read_text(encoding="utf-8")
        except OSError:
            continue  # it has ended
        fields = name_and_rest.rpartition(")")[2].split()
        if int(path.parent.name) == pid or int(fields[1]) == pid:
            used += (int(fields[11]) + int(fields[12])) / tick
    return used
