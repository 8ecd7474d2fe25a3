"""Parts of the environment ``atari``: reference scores, emulators that look ahead, collectors."""
