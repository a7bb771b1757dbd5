"""The contract that every face compiles into: endpoints, requests, codecs, routing and dispatch."""
