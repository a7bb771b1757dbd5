"""Operations: what a hook consists of. Each is one small function that writes Python, registered in one table."""
