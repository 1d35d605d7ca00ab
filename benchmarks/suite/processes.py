"""Programs and servers: started, awaited, ended."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from cores import pinned

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "bench"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
PROGRAMS = (TARGET if TARGET.is_absolute() else ROOT / TARGET) / "release"


class Failure(Exception):
    """Why a subject could not be measured."""


def last_lines(text, lines=3):
    # Without the paths of this machine, since the page is published.
    text = text.replace(f"{ROOT}/", "")
    kept = [line.strip() for line in text.splitlines() if line.strip() and "RUST_BACKTRACE" not in line]
    return " / ".join(kept[-lines:]) or "no message"


def output(command, timeout=600):
    """Returns what a command prints."""
    try:
        done = subprocess.run(
            [str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"no end after {timeout} s: {command[0]}") from None
    except OSError as error:
        raise Failure(str(error)) from None
    if done.returncode:
        raise Failure(last_lines(done.stderr or done.stdout))
    return done.stdout


def figures(core, program, *arguments):
    """Runs one of the programs of benchmarks/peers, which prints its figures as JSON in the last line."""
    command = [PROGRAMS / program, *(str(argument) for argument in arguments)]
    return json.loads(output(pinned(core, command)).strip().splitlines()[-1])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server on a core, which ends with the benchmark."""

    def __init__(self, name, core, command, port, **options):
        WORK.mkdir(parents=True, exist_ok=True)
        self.name, self.port = name, port
        self.log = WORK / f"{name}.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                pinned(core, [str(part) for part in command]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **options,
            )
        try:
            self._wait()
        except Failure:
            self.stop()
            raise

    def _wait(self):
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise Failure(f"it ended: {last_lines(self.log.read_text())}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise Failure(f"it does not listen: {last_lines(self.log.read_text())}")

    def cpu_seconds(self):
        """Returns the processor time of the server and the processes that it started."""
        ticks = 0
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = status.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            # Of the session that began with the server.
            if int(fields[3]) == self.process.pid:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self):
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
