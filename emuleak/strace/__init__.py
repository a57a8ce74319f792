"""The guest's system calls told as strace(1) tells them: names, arguments, results, signals, ends of processes.

The kernel calls a `Tracer` (kernel/tracing.py) at each of these moments, if there is one. Calls are known by number
(numbers.py); what their arguments mean is in prototypes.py, how a value is shown in the files beside it. The formats
are those of strace 6.1, against which the tests hold them.
"""
