"""How each effect is carried out: one room per kind, each idempotent, each answering with one event."""
