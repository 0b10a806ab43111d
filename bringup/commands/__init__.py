"""What the tasks do: one function each, returning an exit code or None for success."""
