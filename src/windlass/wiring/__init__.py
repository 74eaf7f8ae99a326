"""The one place where parts are chosen and joined. It decides nothing: settings in, a running Windlass out."""
