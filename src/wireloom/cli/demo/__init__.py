"""What `wireloom demo` serves: a typed chat (`app.py`) and its page."""
