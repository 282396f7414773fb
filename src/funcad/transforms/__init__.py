"""The transforms: functions that take a Python function and return one."""
