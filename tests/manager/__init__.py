"""The promises of the manager, tested through its public face."""
