"""Parts of the Meta-World environment."""
