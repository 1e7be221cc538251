"""`python -m pocketrec` is the same as `pocketrec`."""

from pocketrec.cli import main

main(prog_name="pocketrec")
