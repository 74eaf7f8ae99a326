"""What Windlass decides. Pure: no clock, network, disk, randomness or log is reached from here."""
