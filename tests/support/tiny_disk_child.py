"""In a mount namespace of its own: mounts a small tmpfs, fills it, runs `pocketrec` commands.

A command runs in a fork, so that what they share is imported once.
"""

import hashlib
import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from forked_command import command

PAGE = 4096
job = json.loads(sys.argv[1])
disk, content = Path(job["disk"]), Path(job["content"])
for module in job["imports"]:
    importlib.import_module(module)
if job["uncompiled"]:
    import tensorflow

    tensorflow.config.run_functions_eagerly(True)


def on_disk(free: int) -> dict:
    """Run the commands on a disk with so many KiB left."""
    pages = sum(-(-path.stat().st_size // PAGE) for path in content.rglob("*") if path.is_file())
    size = f"size={(pages + 1) * PAGE + free * 1024}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", disk], check=True)
    shutil.copytree(content, disk, dirs_exist_ok=True)
    left = shutil.disk_usage(disk).free - free * 1024
    (disk / "filler").write_bytes(b"x" * max(0, left))
    ran = []
    for words in job["commands"]:
        if words == ["grow"]:
            subprocess.run(["mount", "-o", "remount,size=1g", disk], check=True)
            continue
        ran.append(command([word.replace("{disk}", str(disk)) for word in words]))
    files = {
        str(path.relative_to(disk)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(disk.rglob("*"))
        if path.is_file() and path.name != "filler"
    }
    subprocess.run(["umount", disk], check=True)
    return {"ran": ran, "files": files}


sys.stdout.write(json.dumps([on_disk(free) for free in job["free"]]))
