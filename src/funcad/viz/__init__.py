"""Pictures of programs and of what they do.

``checkpoint_schedule`` and ``profile_plot`` need matplotlib, the extra ``viz``.
"""

from funcad.viz.checkpointing import checkpoint_schedule
from funcad.viz.evaluation import trace
from funcad.viz.timings import profile_plot

__all__ = ["checkpoint_schedule", "profile_plot", "trace"]
