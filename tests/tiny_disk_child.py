"""In a mount namespace of its own: mounts a small tmpfs, fills it, runs `pocketrec` commands."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

PAGE = 4096
job = json.loads(sys.argv[1])
disk, content = Path(job["disk"]), Path(job["content"])
pages = sum(-(-path.stat().st_size // PAGE) for path in content.rglob("*") if path.is_file())
size = f"size={(pages + 1) * PAGE + job['free'] * 1024}"
subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", disk], check=True)
shutil.copytree(content, disk, dirs_exist_ok=True)
left = shutil.disk_usage(disk).free - job["free"] * 1024
(disk / "filler").write_bytes(b"x" * max(0, left))
ran = []
for words in job["commands"]:
    if words == ["grow"]:
        subprocess.run(["mount", "-o", "remount,size=1g", disk], check=True)
        continue
    words = [word.replace("{disk}", str(disk)) for word in words]
    done = subprocess.run(
        [sys.executable, "-m", "pocketrec", *words], capture_output=True, text=True
    )
    ran.append((done.returncode, done.stderr, done.stdout))
files = {
    str(path.relative_to(disk)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(disk.rglob("*"))
    if path.is_file() and path.name != "filler"
}
sys.stdout.write(json.dumps({"ran": ran, "files": files}))
