"""What can go wrong on emuleak's own side, and how the command line says so.

    EmuleakError            one line for the user; `slug` for scripts; `exit_status` of the command
    |-- BadProgram          the file cannot be run: missing, not ELF, wrong machine, corrupt ...
    |-- BadOption           an option or its value makes no sense
    `-- MachineFailure      the emulated CPU itself gave up (a defect of ours or of Unicorn)

A bug in the *guest* is never one of these: it is a finding in the report.
"""


class EmuleakError(Exception):
    """A failure of emuleak's own: its message is one line that says what happened, to which file, what to do."""

    slug = "error"
    exit_status = 2


class BadProgram(EmuleakError):
    """The program, its interpreter or one of its libraries cannot be loaded."""

    slug = "bad-program"


class BadOption(EmuleakError):
    """An option or an option's value that cannot be used."""

    slug = "bad-option"


class MachineFailure(EmuleakError):
    """The emulated machine stopped in a way that is no behaviour of the guest."""

    slug = "machine-failure"
