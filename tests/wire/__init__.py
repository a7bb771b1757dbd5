"""Tests of `wireloom.wire`, with an oracle that others use too."""
