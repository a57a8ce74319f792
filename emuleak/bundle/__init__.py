"""A program packed with all that it needs, to be run where none of it is: `emuleak bundle`, and `emuleak run X.emu`."""
