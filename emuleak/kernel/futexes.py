"""Where a futex is and who waits there: in one process, or in several that share its memory. See futex(2)."""

from typing import TYPE_CHECKING

from emuleak.kernel.threads import FUTEX_ANY

if TYPE_CHECKING:
    from emuleak.kernel.core import Kernel


def key(kernel: "Kernel", address: int) -> int:
    """What a futex is known by: where it lies in shared memory, or its address."""
    physical = kernel.memory.aliases.physical(address) if kernel.memory.aliases else None
    return address if physical is None else physical


def wake(kernel: "Kernel", address: int, limit: int, bitset: int = FUTEX_ANY) -> int:
    """Wake waiters, of all processes where the futex lies in shared memory or the memory is shared as a whole."""
    known = key(kernel, address)
    woken = kernel.threads.wake(known, limit, bitset)
    for other in kernel.system.alive():
        if other is not kernel and (known != address or other.memory is kernel.memory):
            woken += other.threads.wake(known, limit - woken, bitset)
    return woken
