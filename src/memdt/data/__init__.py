"""Episodes on disk, segments in memory, batches of segments: the first steps of the flow."""
