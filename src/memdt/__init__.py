"""memdt: what two papers claim about memory in offline-RL transformers, reproduced end to end."""
