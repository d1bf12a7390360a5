"""Tests of `crust.reach.dial_back`."""
