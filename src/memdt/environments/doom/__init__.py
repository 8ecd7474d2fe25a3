"""Parts of the ViZDoom environments."""
