"""The programs that are timed, each in a process of its own."""
