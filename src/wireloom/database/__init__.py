"""Database: the one SQL database that rooms keep their tables in."""
