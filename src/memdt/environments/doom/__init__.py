"""What the ViZDoom environments are made of."""
