"""Tests of the way in, with real sockets."""
