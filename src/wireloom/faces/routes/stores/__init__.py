"""What routes keep things in: SQL databases (SqlOp) and key-value stores (RedisOp)."""
