"""What a piece of work costs on this machine, and what a study will cost."""
