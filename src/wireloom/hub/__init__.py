"""Who is here and who hears what: connections, their outboxes, topics, and the way between processes."""
