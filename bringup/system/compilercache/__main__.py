"""`python -I -S <this file> CONFIG NAME ARGUMENTS...`, as the scripts that stand for compilers call it."""

import sys

# The folder that holds the package `bringup`; last, so that nothing beside it is taken for a standard module.
sys.path.append(__file__.rsplit("/", 4)[0])

from bringup.system.compilercache.run import main

sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
