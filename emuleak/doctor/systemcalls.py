"""Functions of libc that a program imports and whose system call is not emulated."""

from collections.abc import Iterable
from typing import Final

from emuleak.elf import Image
from emuleak.kernel import table
from emuleak.kernel.refused import LACKING
from emuleak.strace.numbers import NAMES

# The name of the function in libc where it is not that of the system call.
_WRAPPERS: Final = {
    **dict.fromkeys(("mq_receive", "mq_timedreceive"), "mq_timedreceive"),
    **dict.fromkeys(("mq_send", "mq_timedsend"), "mq_timedsend"),
    "signalfd": "signalfd4",
    "io_setup": "io_setup",
    "splice": "splice",
    "fanotify_mark": "fanotify_mark",
}


def missing_calls(images: Iterable[Image]) -> list[str]:
    """Names of functions that end in a call which the kernel does not have, in alphabetical order."""
    table.load_all()
    numbers = {name: number for number, name in NAMES.items()}
    absent = set()
    for image in images:
        for function in {*image.stubs, *image.slots}:
            number = numbers.get(_WRAPPERS.get(function, function))
            if number is not None and (table.handler_of(number) is None or number in LACKING):
                absent.add(function)
    return sorted(absent)
