"""Where process trees run: this machine's processes, inside bubblewrap (`process.ProcessRunner`)."""
