"""The campaign of faults, `nox -s faults`: breaks the harness on purpose and checks what it makes of it."""
