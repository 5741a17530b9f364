"""The panel: what the user sees and sets. It computes nothing."""
