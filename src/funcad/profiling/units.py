"""Numbers as people read them: three digits and a unit."""

from __future__ import annotations


def number_text(x: float) -> str:
    """Three significant digits, or that it is smaller than a hundredth."""
    if x == 0:
        return "0"
    if abs(x) >= 100:
        return f"{x:.0f}"
    if abs(x) >= 10:
        return f"{x:.1f}"
    return f"{x:.2f}" if abs(x) >= 0.01 else "<0.01"


def scaled(x: float, units: tuple[tuple[float, str], ...]) -> str:
    """In the largest unit of which there is one."""
    size, unit = next((u for u in units if abs(x) >= u[0]), units[-1])
    return f"{number_text(x / size)} {unit}"


def seconds_text(x: float) -> str:
    """A duration."""
    return scaled(x, ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns")))


def bytes_text(x: float) -> str:
    """An amount of memory; a kB is 1,000 bytes."""
    if abs(x) < 1000:
        return f"{x:.0f} B"
    return scaled(x, ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")))


def rate_text(x: float | None) -> str:
    """Thousands of millions a second; nothing where it is not known."""
    return "" if x is None else number_text(x / 1e9)
