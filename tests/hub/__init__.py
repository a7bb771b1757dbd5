"""Tests of outboxes, the flusher and the hub."""
