"""A cache of compiler results that stands in front of gcc and nvcc; started once for each unit.

It uses the standard library alone and imports late: its start is a part of every hit. `bringup.building.compiler_cache`
puts it in front of a build's compilers.
"""
