"""What programs say to valgrind and to LeakSanitizer, heard by emuleak: client requests, `__lsan_` functions.

Nothing here is imported for a program that speaks to neither.
"""
