"""The kinds of findings as SARIF's rules: what each is, what to do about it, its number in the CWE list."""

import msgspec

from emuleak.report.verdict import misuse_name


class Rule(msgspec.Struct, frozen=True):
    """One kind of finding: `cwe` is 0 where the list has none that fits."""

    short: str
    full: str
    help: str
    cwe: int = 0


RULES: dict[str, Rule] = {
    "definitely-lost": Rule(
        "Memory is lost for good",
        "A block was allocated and never freed, and at the end no pointer to it was left.",
        "Free the block before the last pointer to it goes away: before the variable is assigned again, before the "
        "function returns, before the structure that holds the pointer is freed.",
        401,
    ),
    "indirectly-lost": Rule(
        "Memory is lost together with the block that points to it",
        "A block was never freed, and only blocks that are lost themselves point to it.",
        "Repair the leak of the block that points here; the function that frees that one has to free this one, too.",
        401,
    ),
    "possibly-lost": Rule(
        "Memory is lost unless a pointer into its middle counts",
        "A block was never freed, and the only pointers left point into its middle, not to its start.",
        "If the program can get from the pointer back to the start of the block, free it that way at the end; if the "
        "pointer is there by chance, the block is lost: free it while its start is still known.",
        401,
    ),
    "still-reachable": Rule(
        "Memory was not freed at the end",
        "A block was never freed, but a pointer to it was left when the program ended.",
        "Often harmless: memory that is needed until the end goes with the process. Free it if the program is to "
        "become a library, or if the number of such blocks grows with the work done.",
        401,
    ),
    "double-free": Rule(
        "A block is freed twice",
        "free was given a pointer to a block that had been freed before.",
        "Let one owner free each block. Set the pointer to NULL after free where it outlives the block: free(NULL) "
        "does nothing.",
        415,
    ),
    "invalid-free": Rule(
        "Something is freed that malloc did not return",
        "free was given a pointer that is not the start of a block: into its middle, to the stack, to a global "
        "variable, or to nowhere.",
        "Keep the pointer that malloc returned and free that one; do not free what was never allocated.",
        590,
    ),
    "mismatched-free": Rule(
        "A block is released by the wrong function",
        "A block was made by one family of functions and released by another, such as new[] and free.",
        "Release with free what malloc made, with delete what new made, with delete[] what new[] made.",
        762,
    ),
    "invalid-realloc": Rule(
        "realloc is given something that malloc did not return",
        "realloc was given a pointer that is not the start of a block in use.",
        "Keep what realloc returns: after it has succeeded the old pointer is no longer valid.",
        590,
    ),
    "use-after-free": Rule(
        "A block is used after it was freed",
        "The program read or wrote a block that had been freed.",
        "Free the block after its last use, or do not keep pointers to it.",
        416,
    ),
    "heap-overflow": Rule(
        "The program goes past the end of a block",
        "The program wrote or read behind the end of a block.",
        "Check the size that was asked for against what is stored: the terminating zero of a string, the last index of "
        "a loop, a length that came from outside.",
        122,
    ),
    "heap-underflow": Rule(
        "The program goes before the start of a block",
        "The program wrote or read in front of the start of a block.",
        "Check the index for values below zero, and pointers that are counted down.",
        124,
    ),
    "write-after-free": Rule(
        "A block is written to after it was freed",
        "The contents of a freed block changed: something wrote to it through a pointer that was no longer valid.",
        "Look for pointers to the block that outlive the place where it is freed.",
        416,
    ),
    "invalid-size": Rule(
        "A size is asked for that cannot be meant",
        "An allocation was asked for a size that no program can want, mostly a negative number taken for a huge one.",
        "Check the arithmetic that leads to the size, and for overflow before the multiplication.",
        131,
    ),
    "invalid-alignment": Rule(
        "An alignment is asked for that there is not",
        "An aligned allocation was asked for with an alignment that is not a power of two, or otherwise not allowed.",
        "Pass a power of two that is a multiple of sizeof(void *).",
        628,
    ),
    "realloc-zero": Rule(
        "realloc is given the size 0",
        "Whether realloc(p, 0) frees the block, or returns a new one of no bytes, is not defined.",
        "Call free where the block is to be freed; keep sizes above zero otherwise.",
        758,
    ),
}


def rule_of(kind: str) -> Rule:
    """The rule of a kind, also of one that this version does not know."""
    words = misuse_name(kind).capitalize()
    return RULES.get(kind) or Rule(words, f"{words}.", "The message of the finding says what happened.")
