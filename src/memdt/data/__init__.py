"""Data: episodes on disk, segments in memory, and batches of segments."""
