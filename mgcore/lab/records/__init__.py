"""What is kept of a study: the protocol, a file a trial, arrays for figures."""
