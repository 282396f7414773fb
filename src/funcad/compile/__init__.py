"""From a program to source that runs: passes, each a file, then plan and emitter."""
