"""Pictures of what funcad does; they need matplotlib, the extra ``viz``."""

from funcad.viz.checkpointing import checkpoint_schedule

__all__ = ["checkpoint_schedule"]
