"""What the core brings itself, registered as plugins are."""
