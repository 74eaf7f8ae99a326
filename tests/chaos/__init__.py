"""Kill -9 at random points under load, on real processes, and an audit of everything afterwards."""
