"""Records of studies on disk: the protocol, one file per trial, and arrays for figures."""
