"""Pictures of programs and of what they do; they need matplotlib, the extra ``viz``."""

from funcad.viz.timings import profile_plot

__all__ = ["profile_plot"]
