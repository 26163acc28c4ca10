"""Sound -> numbers: decoding, chroma and constant-Q features."""
