"""Parts of the sources ``dqn_replay`` and ``rl_unplugged``."""
