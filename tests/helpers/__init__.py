"""What several tests share: small data folders, small packages, the program as a process."""
