"""Run studies: many trials in parallel, each once, whatever was interrupted before."""
