"""Tests that throw random bytes at the wire and at a live server."""
