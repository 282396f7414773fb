"""Where the time goes: ``profile`` and what it reports."""

from funcad.profiling.profiler import profile
from funcad.profiling.report import Operation, Profile, Row, Span, Table

__all__ = ["Operation", "Profile", "Row", "Span", "Table", "profile"]
