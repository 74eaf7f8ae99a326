"""What a run may reach: an egress proxy of its own with an allow-list, around any runner (`guarded.GuardedRunner`)."""
