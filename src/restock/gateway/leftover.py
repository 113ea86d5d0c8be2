"""Which Envoy this gateway started, written down for whoever comes after a `kill -9`.

By pid and start time: a pid alone may by then be somebody else's process.
"""

import json
import os
import stat
from contextlib import suppress
from pathlib import Path

import psutil

ENDS_WITHIN_S = 5.0
SAME_START_S = 0.5  # psutil reckons it from the boot time, which the clock's correction can move


class UnsafeDirectory(OSError):
    """The directory for Envoy's configuration is somebody else's."""


def private_directory(path: Path) -> Path:
    """Make the directory, readable by its owner only. Raises UnsafeDirectory if it isn't ours."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise UnsafeDirectory(f"{path} is not a directory of this user")
    path.chmod(0o700)
    return path


class Record:
    """The supervisor's Records: one file in the private directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def note(self, name: str, pid: int) -> None:
        """Write down a process that has just been started."""
        with suppress(psutil.Error):
            began = psutil.Process(pid).create_time()
            fresh = self._file(name).with_suffix(".new")
            fresh.write_text(json.dumps({"pid": pid, "began": began}))
            fresh.replace(self._file(name))

    def forget(self, name: str) -> None:
        """It has ended."""
        self._file(name).unlink(missing_ok=True)

    def end_leftover(self, name: str) -> None:
        """End the process of that name when an earlier gateway left it. Blocks until it is gone."""
        process = self._find(name)
        if process is not None:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
                try:
                    process.wait(ENDS_WITHIN_S)
                except psutil.TimeoutExpired:
                    process.kill()
                    process.wait(ENDS_WITHIN_S)
        self.forget(name)

    def _find(self, name: str) -> psutil.Process | None:
        try:
            written = json.loads(self._file(name).read_text())
            process = psutil.Process(int(written["pid"]))
            same = abs(process.create_time() - float(written["began"])) < SAME_START_S
            dead = process.status() == psutil.STATUS_ZOMBIE
        except (OSError, ValueError, KeyError, TypeError, psutil.Error):
            return None
        return process if same and not dead else None

    def _file(self, name: str) -> Path:
        return self._directory / f"{name}.json"
