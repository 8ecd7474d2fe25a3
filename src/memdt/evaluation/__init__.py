"""Roll a policy out, and say what its episodes tell."""
