# SPDX-License-Identifier: MIT
"""Runs one command and says how long it took and how much memory it held."""

import dataclasses
import os
import pathlib
import re
import subprocess
import time


@dataclasses.dataclass
class Run:
    seconds: float
    cpu_seconds: float
    peak_rss: int  # bytes, mapped files included
    peak_anonymous: int  # bytes, sampled every 10 ms


def memory_now(pid: int) -> tuple[int, int]:
    """Highest resident set so far and anonymous memory now. (The kernel's ru_maxrss counts the parent's, before exec.)"""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    found = [re.search(rf"{name}:\s+(\d+) kB", text) for name in ("VmHWM", "RssAnon")]
    return tuple(int(match.group(1)) * 1024 if match else 0 for match in found)


def measure(command: list, log: pathlib.Path, environment: dict | None = None) -> Run:
    """Raises with the end of the log if the command fails."""
    with open(log, "wb") as stream:
        begin = time.perf_counter()
        child = subprocess.Popen(
            [str(part) for part in command],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        peak_rss, peak_anonymous = 0, 0
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid != 0:
                break
            resident, anonymous = memory_now(child.pid)
            peak_rss, peak_anonymous = max(peak_rss, resident), max(peak_anonymous, anonymous)
            time.sleep(0.01)
        seconds = time.perf_counter() - begin
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise RuntimeError(f"{command}: exit {child.returncode}\n{log.read_text(errors='replace')[-2000:]}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, peak_rss, peak_anonymous)


def machine() -> str:
    cpu = re.search(r"model name\s*:\s*(.+)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text()).group(1))
    return f"{os.cpu_count()} CPUs ({cpu.group(1) if cpu else 'unknown'}), {memory / 2**20:.0f} GiB"
