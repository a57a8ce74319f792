"""The judges: what a program does natively, what valgrind says of it, what its own comments promise, what emuleak says.

Every judge answers in the shapes of `shapes.py`, so that any two can be compared with `judge.py`.
"""
