"""The REST subset: one endpoint per GitHub operation, found by its official path template."""
