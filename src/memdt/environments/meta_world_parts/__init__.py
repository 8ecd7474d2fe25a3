"""What the Meta-World environment is made of."""
