"""The primitives, a file a family: all that is known of an operation in one place."""
