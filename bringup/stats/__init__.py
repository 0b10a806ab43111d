"""What the last run of a target took, what bounded it, and the timeline of it: read from its records."""
