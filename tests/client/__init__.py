"""Tests of `wireloom.client`."""
