"""What there is to learn about each kind of finding, whatever the program: meaning, questions, repair, mistakes."""

import msgspec


class Lesson(msgspec.Struct, frozen=True):
    """True of every finding of its kind. `check` are questions to the reader, `mistakes` what is often the cause."""

    meaning: str
    check: tuple[str, ...]
    repair: str
    mistakes: tuple[str, ...]


LESSONS: dict[str, Lesson] = {
    "definitely-lost": Lesson(
        "A block of memory is definitely lost when it was never freed and the program holds no pointer to it any more."
        " Without a pointer it can be neither used nor freed. In a program that runs for long, such blocks add up.",
        (
            "Who was to free the block: the function that allocated it, its caller, or the structure it was put into?",
            "Which ways lead out of that function? Follow each return, break, goto and exception after the allocation.",
            "Is the pointer assigned a second time while it still holds the first block?",
            "Does the program keep the pointer in a disguise, encrypted or in a file? Only then is it not lost at all.",
        ),
        "Decide who owns the block, and free it there, on every way out, while the pointer is still known. In C++ let "
        "an object own it: std::unique_ptr, std::vector, std::string.",
        (
            "an early return on an error path, past the free at the function's end",
            "p = malloc(...) in a loop, with one free after the loop",
            "p = realloc(p, n): when realloc fails, p is overwritten with NULL and the old block is lost",
            "the return value of strdup, getline, asprintf or the like that nobody frees",
        ),
    ),
    "indirectly-lost": Lesson(
        "A block is indirectly lost when the only pointers to it lie in blocks that are lost themselves: a node behind"
        " a lost list head, a string in a lost structure.",
        (
            "Which lost block points here? Look for the definitely lost finding allocated near this one.",
            "Does the function that frees the outer structure also free what it points to, and before it?",
        ),
        "Repair the definitely lost block first, by the function that frees the whole structure: members first, then "
        "the structure itself. Often this finding is then gone, too.",
        (
            "freeing only the head of a list or the root of a tree, once the leak of the head is repaired",
            "freeing the structure first and then reading its members in order to free them",
            "a destructor or a free_x() that forgets a member that was added later",
        ),
    ),
    "possibly-lost": Lesson(
        "A block is possibly lost when it was never freed and no pointer to its start was found, only one into its "
        "middle, or one in another possibly lost block. From that the program could get back to the start, or the "
        "value is there by chance.",
        (
            "Does the program keep a pointer into the block on purpose: to a member, to the data after a header?",
            "Is a pointer moved (p++) although it is the only one to the block?",
        ),
        "Keep the pointer that the allocator returned, and free that one. Where the program gets from the inner "
        "pointer back to the start, free the block that way before the end.",
        (
            "while (*p) p++; with the only pointer to the string",
            "a base class pointer, kept alone, to the second base of a C++ object",
            "a container of pointers to members of the blocks instead of to the blocks",
        ),
    ),
    "still-reachable": Lesson(
        "A block is still reachable when it was never freed, but a pointer to it was still there at the end. The "
        "system takes back all memory of a process that ends, so this is often harmless.",
        (
            "Does the number of such blocks grow with the work done? Then it is a leak that has a pointer.",
            "Is the code to be used as a library one day, loaded and unloaded or called many times?",
        ),
        "If it matters, free the block before the program ends: at the end of main, in a function given to atexit, or "
        "in a destructor. If it does not, leave it; it never fails a run unless --fail-on says so.",
        (
            "a cache or a table that only ever grows",
            "a global pointer to something that is built once and never torn down",
            "exit() in the middle of the program, past the code that frees",
        ),
    ),
    "double-free": Lesson(
        "A double free gives a block back a second time. After the first free the memory is the allocator's, which may "
        "have given it to somebody else: the second free then frees another's block, or damages the allocator's books.",
        (
            "Which of the two places owns the block and is to free it?",
            "Do two variables hold the same pointer, after an assignment or a copy of a structure?",
            "Can the code run twice for one object: an error path that frees, then the common end that frees again?",
        ),
        "Let one place own the block. Where the pointer outlives the block, set it to NULL after free: free(NULL) does"
        " nothing. In C++ let std::unique_ptr or a container own it, and give a class that frees in its destructor a "
        "copy constructor and an assignment, or forbid both.",
        (
            "copying a structure with a pointer member and freeing both copies",
            "freeing an element of a list and then the whole list",
            "a C++ class with a destructor that deletes and the copy constructor that the compiler wrote",
            "freeing in a callee what the caller frees as well",
        ),
    ),
    "invalid-free": Lesson(
        "free and delete take exactly the pointers that the allocator has returned. A pointer into the middle of a "
        "block, to a variable, to a string literal or to nowhere is none, and what happens then is undefined.",
        (
            "Where was this pointer last assigned? Follow it back to the allocation, or to the lack of one.",
            "Was the pointer moved, by p++ or p += n, since malloc returned it?",
            "Is it a variable that sometimes holds allocated memory and sometimes something else?",
        ),
        "Keep the pointer that the allocator returned apart from the one that moves, and free the former. Do not free "
        "what was not allocated: local arrays, members of a larger block, literals.",
        (
            "free of a pointer that a loop has moved through the block",
            "free of a member, where the enclosing block was allocated as one",
            "free of a variable that was never set",
        ),
    ),
    "mismatched-free": Lesson(
        "Each family of functions must release what it made itself: free what malloc, calloc, realloc and strdup made,"
        " delete what new made, delete[] what new[] made. Others may keep other books, and delete on an array runs one"
        " destructor instead of all.",
        (
            "How was the block allocated, and does the code that releases it know that?",
            "Does a C function return memory that C++ code deletes, or the reverse?",
        ),
        "Release the block with the function that belongs to the one that made it; or, in C++, hold it in a container "
        "or a smart pointer that knows (std::vector, std::unique_ptr<T[]>).",
        (
            "delete p; for p = new T[n]",
            "free(p) for an object that new made: its destructor does not run",
            "delete for what strdup or another C function returned",
            "std::unique_ptr<T> or std::shared_ptr<T> that is given an array",
        ),
    ),
    "invalid-realloc": Lesson(
        "realloc takes what malloc, calloc or realloc returned and nobody has freed since, or NULL. Whenever it "
        "succeeds, the old pointer is dead, whether the block moved or not.",
        (
            "Are there copies of the pointer from before an earlier realloc, or from before a free?",
            "Is it the start of the block, or was it moved?",
        ),
        "Use only what realloc returned, and update every copy of the old pointer, or keep one copy only and find the "
        "rest by index.",
        (
            "a callee that reallocs while the caller goes on with the old pointer",
            "freeing a buffer without setting the pointer to NULL before it grows again",
            "realloc of a local array",
        ),
    ),
    "use-after-free": Lesson(
        "The program used memory that it had given back. By then the block may belong to somebody else: reads give "
        "whatever lies there now, writes change data that is not the program's own any more. It can work by luck for "
        "years.",
        (
            "Who still holds a pointer to the block when it is freed?",
            "Is the access in a loop that frees what it then steps on from?",
            "Was the block moved by a realloc, or by a container that grew?",
        ),
        "Free the block after its last use, or let go of every pointer to it when it is freed. In C++, do not keep "
        "references or iterators across calls that change the container.",
        (
            "for (p = head; p; p = p->next) free(p);",
            "returning a pointer into a buffer that is freed before the caller reads it",
            "c_str() or data() of a temporary",
            "an element of a std::vector that is kept while push_back moves the elements",
        ),
    ),
    "heap-overflow": Lesson(
        "The program went past the end of a block. What lies behind it is another block or the allocator's own data: "
        "reading gives garbage, writing damages something that fails later, elsewhere.",
        (
            "How large is the block, and how is that size computed? Does it leave room for the terminating zero?",
            "What is the largest index or length with which the code gets here?",
            "Is a number of elements taken for a number of bytes?",
        ),
        "Compute the size and the bound from the same value, and check lengths that come from outside before copying.",
        (
            "malloc(strlen(s)) for a copy of s: the zero at the end needs one byte more",
            "for (i = 0; i <= n; i++) over n elements",
            "malloc(n) where malloc(n * sizeof *p) is meant, or sizeof p for sizeof *p",
            "strcpy, sprintf or gets into a block of a fixed size",
        ),
    ),
    "heap-underflow": Lesson(
        "The program went before the start of a block. What lies there is another block or the allocator's own data.",
        (
            "Can the index be negative, or an unsigned one wrap around below zero?",
            "Is a pointer counted down past the first element?",
        ),
        "Check the lower bound as well as the upper, and mind that size_t is never less than 0.",
        (
            "buffer[length - 1] with a length of 0",
            "while (isspace(*end)) end--; on a string of spaces only",
            "the result of a search that is -1 when nothing was found, taken as an index",
        ),
    ),
    "write-after-free": Lesson(
        "The contents of a block changed after it had been freed: something wrote there through a pointer that was no "
        "longer valid. In another run the memory could have belonged to somebody else already.",
        (
            "Who kept a pointer to the block beyond the place where it was freed?",
            "What does the program write to objects of this type, and can that come after the free?",
        ),
        "Free the block after its last use, or let go of every pointer to it when it is freed.",
        (
            "a structure that is taken out of one list and freed, and stays in another",
            "a callback or a thread that is handed the block and runs after its end",
            "a pointer from before a realloc that is still written through",
        ),
    ),
    "invalid-size": Lesson(
        "A size was asked for that cannot be meant. Sizes are unsigned: a negative number becomes a huge one.",
        (
            "How is the size computed, and can a subtraction go below zero or a multiplication overflow?",
            "Does it come from outside: a file, the network, the command line? Is it checked?",
        ),
        "Check the numbers before the computation, use calloc(n, size) or reallocarray for products, and check what "
        "the allocator returns.",
        (
            "a function's error result, -1, that is used as a length",
            "malloc(end - start) with the two the wrong way round",
            "a length read from a file in the wrong byte order",
        ),
    ),
    "invalid-alignment": Lesson(
        "An alignment was asked for that is not allowed. It has to be a power of two, for posix_memalign also a "
        "multiple of the size of a pointer.",
        (
            "Is the alignment in bytes, not in bits, and not its logarithm?",
            "Are the arguments in the right order? aligned_alloc takes the alignment first, memalign too.",
        ),
        "Pass a power of two: alignof(T), 16, 64, the size of a page. Check the function's result.",
        (
            "aligned_alloc(size, alignment) with the arguments exchanged",
            "an alignment of 0, or that of a page written as 4000",
        ),
    ),
    "realloc-zero": Lesson(
        "realloc was asked to make a block 0 bytes large. Whether it then frees the block, and what it returns, "
        "differs between systems; since C23 it is undefined.",
        (
            "Can the new size be 0 here: an empty list, an empty line?",
            "What does the code do with a NULL from realloc: does it take it for a failure and use the old block?",
        ),
        "Treat the size 0 on its own: free the block and set the pointer to NULL, or keep at least one byte.",
        (
            "shrinking a buffer to fit when nothing is in it",
            "if (!(q = realloc(p, n))) free(p); frees twice where realloc(p, 0) has freed p and returned NULL",
        ),
    ),
}
