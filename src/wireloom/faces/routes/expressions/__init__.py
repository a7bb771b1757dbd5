"""The expression language of routes: ``{{ … }}`` in any string, parsed when it is loaded and compiled to Python."""
