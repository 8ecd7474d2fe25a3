"""The layout of D4RL's files, for the source that reads them."""
