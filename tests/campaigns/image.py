"""The image as it is deployed: built from the Dockerfile, started with a read-only root as its own user, and drained.

    python -m tests.campaigns.image

Needs root, and Debian's packages buildah and debootstrap. The base image is made here from Debian's packages, so that
no registry of images is asked; what stands in the Dockerfile after its base is built as it stands. A sandbox and a
Redis run beside; the container gets jobs, a SIGTERM in the middle of them, and is started again for the rest.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from tests.support.processes import KEY, email, running_sandbox
from tests.support.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import Sandbox

ROOT = Path(__file__).parents[2]
USER = 10001
JOBS = 300
BASE = "localhost/sender-base"
IMAGE = "localhost/sender-tried"
NEEDED = ("buildah", "debootstrap", "unshare", "chroot")
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
INSTALLED = "python3,python3-venv,ca-certificates"
START = """
set -e
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t tmpfs -o mode=1777 tmp "$1/tmp"
mount -t tmpfs -o uid={user},mode=700 data "$1/data"
mount -o remount,ro,bind "$1"
root="$1"; shift
exec chroot --userspec={user}:{user} "$root" "$@"
"""
"""In a mount namespace of its own: nothing can be written but /tmp and /data, as the manifests have it."""


def buildah(*arguments: str) -> str:
    done = subprocess.run(
        ["buildah", "--storage-driver", "vfs", *arguments], stdout=subprocess.PIPE, check=True, cwd=ROOT
    )
    return done.stdout.decode().strip()


def make_base(folder: Path) -> None:
    """Debian 12 with its Python 3.11, under the name that the Dockerfile's base has there."""
    rootfs = folder / "base"
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={INSTALLED}", "bookworm", str(rootfs), MIRROR], check=True,
        stdout=subprocess.DEVNULL,
    )
    (rootfs / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    container = buildah("from", "scratch")
    try:
        buildah("copy", container, str(rootfs), "/")
        buildah("commit", "--quiet", container, BASE)
    finally:
        buildah("rm", container)
        shutil.rmtree(rootfs)


def build() -> None:
    how = ("--isolation", "chroot", "--network", "host", "--build-arg", f"BASE={BASE}", *_pip())
    buildah("bud", *how, "--tag", IMAGE, ".")


def _pip() -> list[str]:
    """Where packages come from on this machine, where that is told by files."""
    found = []
    for path in map(Path, ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")):
        if path.exists():
            found += ["--volume", f"{path}:{path}:ro"]
    return found


@contextmanager
def unpacked() -> Iterator[Path]:
    """The root of a container of the image."""
    container = buildah("from", "--pull-never", IMAGE)
    try:
        yield Path(buildah("mount", container))
    finally:
        buildah("umount", container)
        buildah("rm", container)


class Container:
    """The image's own entry point, on the root that nobody can write to."""

    def __init__(self, root: Path, log: Path, *arguments: str) -> None:
        entry = json.loads(buildah("inspect", "--type", "image", IMAGE))["OCIv1"]["config"]
        assert entry["User"] == str(USER)
        assert entry["StopSignal"] == "SIGTERM"
        variables = dict(one.split("=", 1) for one in entry["Env"])
        program = f"/opt/sender/bin/{entry['Entrypoint'][0]}"
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", START.format(user=USER), "sh", str(root), program, *arguments],
                env={**variables, "SENDER_API_KEY": KEY}, stdout=file, stderr=file, stdin=subprocess.DEVNULL,
            )

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def until(what: object, seconds: float = 60.0) -> None:
    ends = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < ends, "not in time"
        time.sleep(0.1)


def try_out(root: Path, folder: Path, sandbox: Sandbox, server: RedisServer) -> None:
    """All jobs once, over two containers, the first of which is drained in the middle."""
    log = folder / "log"
    url = f"redis://127.0.0.1:{server.port}"
    command = [
        "consume", f"{url}/0?stream=jobs&group=senders", "--state", f"{url}/1", "--dead-letter", f"{url}/0?stream=dead",
        "--base-url", sandbox.url, "--outcomes", "-", "--reconcile-lag", "1", "--log-format", "json",
    ]
    with redis.Redis(port=server.port) as client:
        for number in range(JOBS):
            client.xadd("jobs", {"job": json.dumps(email(number))})
        try:
            first = Container(root, log, *command)
            until(lambda: len(sandbox.messages) > JOBS // 4)
            status = Path(f"/proc/{first.process.pid}/status").read_text()
            assert f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}" in status, "it runs as its user"
            assert first.end() == 0, "it drains"
            between = len(sandbox.messages)
            second = Container(root, log, *command)
            until(lambda: len(sandbox.messages) == JOBS)
            assert second.end() == 0
        except AssertionError:
            sys.stderr.write(log.read_text()[-3000:])
            raise
        assert sorted(sandbox.numbers()) == list(range(JOBS))
        assert not client.exists("dead")
    sys.stdout.write(f"{between} of {JOBS} jobs before the drain, the rest after it: each once\n")


def refuses_to_be_written(root: Path, folder: Path) -> None:
    """The root is read-only for a process in it."""
    program = ["/usr/local/bin/python", "-c", "open('/opt/x', 'w')"]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", START.replace("--userspec={user}:{user}", "").format(user=USER), "sh",
         str(root), *program], capture_output=True, check=False, cwd=folder,
    )
    assert b"Read-only file system" in done.stderr, done.stderr


def main() -> int:
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        sys.stderr.write(f"the image can be tried by root alone, with {' and '.join(NEEDED)} (apt-get install …)\n")
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_base(folder)
        build()
        with unpacked() as root, running_sandbox("--rate-send", "100", "--latency", "100") as sandbox:
            refuses_to_be_written(root, folder)
            server = RedisServer(folder)
            try:
                server.start()
                try_out(root, folder, sandbox, server)
            finally:
                server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
