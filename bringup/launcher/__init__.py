"""Source of the compiler launcher: a small C program, compiled once with the host's gcc (bringup.system.launcher)."""
