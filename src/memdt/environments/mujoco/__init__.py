"""What the MuJoCo environments and the source of their published data take from ``d4rl``."""
