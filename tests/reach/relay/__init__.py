"""Tests of `crust.reach.relay`."""
