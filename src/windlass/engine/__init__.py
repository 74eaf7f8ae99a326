"""The durable loop: receive, decide, record, carry out. All I/O goes through `windlass.ports`."""
