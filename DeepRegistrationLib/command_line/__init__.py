"""What is typed: the commands, one pair or many."""
