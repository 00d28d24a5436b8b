"""Statistics that decide: agreement of two records, claims, checks by computation."""
