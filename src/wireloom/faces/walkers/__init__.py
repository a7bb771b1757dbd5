"""Walkers: a class whose fields are its input and whose abilities run where it goes, reached by up to four doors."""
