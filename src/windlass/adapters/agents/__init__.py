"""Programs that code, behind one exchange of files: `command.CommandAgent` and `patch.PatchAgent`."""
