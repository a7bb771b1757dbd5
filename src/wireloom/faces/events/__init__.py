"""The event socket: users, channels and clients reach each other and named actions over one multiplexed endpoint."""
