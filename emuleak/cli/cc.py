"""`emuleak cc`: compile a C or C++ program for x86-64 Linux, on any host."""

from collections.abc import Sequence

import click

from emuleak.errors import BadOption


@click.command(
    short_help="Compile a program for x86-64 Linux, on any host.",
    context_settings={
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
        "help_option_names": ["--help"],
    },
)
@click.option("--target", metavar="TARGET", help="x86_64-linux-gnu.2.31 is for that glibc, x86_64-linux-musl for musl.")
@click.argument("arguments", metavar="[-o OUT] SOURCE... [ARGS]...", nargs=-1, type=click.UNPROCESSED)
def cc(target: str | None, arguments: Sequence[str]) -> int:
    """Compile with -g, by the host's own compiler where it makes programs for x86-64 Linux, else by Zig's.

    Everything but --target, which stands first, is given to the compiler as it is. A source named .cpp, .cc or .cxx is
    C++. Zig's compiler comes with pip install ziglang. The exit status is the compiler's.
    """
    from emuleak.compiling import compile_  # noqa: PLC0415

    if not arguments:
        raise BadOption("nothing to compile; emuleak cc -o prog prog.c")
    return compile_(arguments, target)
