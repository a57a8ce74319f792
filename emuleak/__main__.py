"""`python -m emuleak` is the command `emuleak`."""

from emuleak.cli import main

if __name__ == "__main__":
    main()
