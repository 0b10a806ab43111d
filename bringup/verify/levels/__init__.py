"""Graph levels of verification: scripts that run in the environment being verified, not in this package's own.

They import one another as top-level modules (their folder is on sys.path when one of them is run as a script)
and nothing from bringup, whose requirements the verified environment does not have. Each script takes
`--json OUT` and writes one document with `checks`, `evidence` and `warnings`.
"""
