"""Ask gdb for the stacks of a program's calls of malloc."""

import json
import tempfile
from pathlib import Path
from typing import NamedTuple

from oracles.native import environment, execute
from oracles.peers import need

SCRIPT = Path(__file__).with_name("inside_gdb.py")


class GdbFrame(NamedTuple):
    """A frame as gdb sees it: `pc` is a return address but in an interrupted function, where it is exact.

    `kind` is "normal", "inline", "tail" (a function that ended in a jump) or "signal"; `object` is None for the
    program's own code.
    """

    pc: int
    function: str | None
    kind: str
    object: str | None


GdbStack = tuple[GdbFrame, ...]


def stacks(program: Path, *arguments: str, sizes: range, frames: int = 128) -> list[tuple[int, GdbStack]]:
    """The size and the callers, innermost first, of each call of malloc with one of the sizes."""
    with tempfile.TemporaryDirectory(prefix="emuleak-gdb-") as name:
        output = Path(name, "stacks.json")
        task = {"low": sizes.start, "high": sizes.stop, "frames": frames, "output": str(output)}
        command = [need("gdb"), "-nx", "-batch", "-x", SCRIPT, "--args", program, *arguments]
        run = execute(command, env={**environment(), "EMULEAK_GDB": json.dumps(task)})
        assert output.exists(), run.stderr.decode(errors="replace")
        calls = json.loads(output.read_text())
    return [(size, tuple(GdbFrame(*frame) for frame in stack)) for size, stack in calls]


def can_trace() -> bool:
    """Whether gdb may trace here: in a container that may be forbidden."""
    return b"exited normally" in execute([need("gdb"), "-nx", "-batch", "-ex", "run", "--args", need("true")]).stdout
