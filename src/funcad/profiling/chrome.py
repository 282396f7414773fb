"""A profile in the Trace Event Format, for chrome://tracing and Perfetto."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from funcad.core.errors import format_line

if TYPE_CHECKING:
    from funcad.profiling.report import Profile


def chrome_trace(profile: Profile) -> dict[str, Any]:
    """Events of the call, of bodies and of operations, and the memory after each."""
    pid = os.getpid()
    operations, spans = profile.operations, profile.spans
    ends = [o.start + o.seconds for o in operations]
    end = max([*ends, *(s.start + s.seconds for s in spans), profile.seconds])
    thread = operations[0].thread if operations else 0
    common = {"ph": "X", "pid": pid}
    events: list[dict[str, Any]] = [
        {"ph": "M", "pid": pid, "name": "process_name", "args": {"name": "funcad"}},
        common
        | _times(0.0, end)
        | {"tid": thread, "name": profile.name, "cat": "call"},
    ]
    for span in spans:
        events.append(
            common
            | _times(span.start, span.seconds)
            | {"tid": span.thread, "name": span.name, "cat": "body"}
        )
    for o in operations:
        arguments = {
            "operands": " ".join(map(str, o.inputs)),
            "results": " ".join(map(str, o.outputs)),
            "line": format_line(o.line),
            "flops": o.flops,
            "bytes": o.nbytes,
        }
        events.append(
            common
            | _times(o.start, o.seconds)
            | {
                "tid": o.thread,
                "name": o.name,
                "cat": "backward" if o.backward else "forward",
                "args": arguments,
            }
        )
        memory = {"results alive": o.live}
        after = round((o.start + o.seconds) * 1e6, 3)
        events.append(
            {"ph": "C", "pid": pid, "ts": after, "name": "bytes", "args": memory}
        )
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _times(start: float, seconds: float) -> dict[str, float]:
    """Microseconds, to the nanosecond."""
    return {"ts": round(start * 1e6, 3), "dur": round(seconds * 1e6, 3)}


def write_json(value: Any, path: str | os.PathLike[str]) -> None:
    """Write a file of JSON."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file)
