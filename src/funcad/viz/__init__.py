"""Pictures of programs and of what they do; they need matplotlib, the extra ``viz``."""

from funcad.viz.checkpointing import checkpoint_schedule
from funcad.viz.timings import profile_plot

__all__ = ["checkpoint_schedule", "profile_plot"]
