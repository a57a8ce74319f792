"""Run emuleak on every example: `make demo`. Each source teaches one thing; its first line says which."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ("article", "loop", "error_path", "double_free", "shapes")
RULE = "-" * 100


def lesson(name: str) -> str:
    """The first line of the example's source, without the marks of a comment."""
    source = next((ROOT / "examples" / "src").glob(f"{name}.*"))
    first = source.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("/*").removeprefix("//").removesuffix("*/").strip()


def show(name: str) -> int:
    """Run one example; emuleak's exit status."""
    program = f"examples/bin/{name}"
    print(f"{RULE}\n{lesson(name)}\n\n$ emuleak run {program}", flush=True)
    # Into a pipe both streams must go the same way, or they would arrive out of order.
    stderr = None if sys.stdout.isatty() else subprocess.STDOUT
    done = subprocess.run([sys.executable, "-m", "emuleak", "run", program], cwd=ROOT, stderr=stderr, check=False)
    print(f"\n(exit status {done.returncode})\n", flush=True)
    return done.returncode


def main() -> int:
    """Every example has a defect that counts: 0 when emuleak found one in each of them."""
    unexpected = [name for name in EXAMPLES if show(name) != 23]
    print(RULE)
    if unexpected:
        print(f"Something is wrong: no finding in {', '.join(unexpected)}.")
        return 1
    print("Exit status 23 means that something was found. How to read a report: docs/reading-a-report.md")
    print("Now one of your own, compiled with -g:  .venv/bin/emuleak run ./program")
    return 0


if __name__ == "__main__":
    sys.exit(main())
