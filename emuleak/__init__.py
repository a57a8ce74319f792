"""Run unmodified x86-64 Linux programs on an emulated CPU and say what they lose of the heap."""
