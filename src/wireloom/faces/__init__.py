"""Ways to declare. Each is a thin compiler into `Endpoint`; none knows another, none knows a transport."""
