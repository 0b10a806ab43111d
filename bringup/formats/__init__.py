"""Readers and writers of package and binary formats; pure Python, no other program is started."""
