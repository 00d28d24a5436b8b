"""Many trials: processes, a cluster, locks, progress, and the fingerprint of the code's behaviour."""
