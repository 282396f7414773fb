"""Where and when a figure was taken: the lines that stand above every table."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform


def describe_machine(*packages: str) -> str:
    """Markdown lines: processor, cores, system, versions, date and load."""
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{name} {version}" for name, version in _versions(packages)]
    return "\n".join(
        [
            f"- {_processor()}, {_cores()} cores, {platform.system()}",
            f"- {', '.join(versions)}",
            f"- {datetime.date.today().isoformat()}{_load()}",
        ]
    )


def _processor() -> str:
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _load() -> str:
    # Figures taken beside other work mislead: threads that wait for each other crawl.
    if not hasattr(os, "getloadavg"):
        return ""
    return f", {os.getloadavg()[0]:.1f} processes running over the last minute"


def _versions(packages: tuple[str, ...]) -> list[tuple[str, str]]:
    found = []
    for name in packages:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
